//! The peer of reads: the same HTTP stack (hyper, rustls) with the same settings, answering with
//! bytes it holds ready. What it takes is what the stack takes.

use crate::Failure;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Serves `/0`, `/1`, … with those bodies until the process ends; answers where.
pub(crate) async fn start(
    bodies: Vec<Bytes>,
    tls: Arc<rustls::ServerConfig>,
) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let bodies = Arc::new(bodies);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(connection(socket, tls.clone(), bodies.clone()));
        }
    });
    Ok(address)
}

async fn connection(
    socket: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    bodies: Arc<Vec<Bytes>>,
) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls).accept(socket).await?;
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let answer = answer(&bodies, request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
}

fn answer(bodies: &[Bytes], path: &str) -> Response<Full<Bytes>> {
    let number = path.trim_start_matches('/').parse().unwrap_or(usize::MAX);
    let mut answer = match bodies.get(number) {
        Some(body) => Response::new(Full::new(body.clone())),
        None => {
            let mut missing = Response::new(Full::default());
            *missing.status_mut() = http::StatusCode::NOT_FOUND;
            missing
        }
    };
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
