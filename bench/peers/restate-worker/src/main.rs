//! A Restate service with as many trivial durable steps as it is asked for.
//! Usage: restate-worker ADDRESS:PORT

use restate_sdk::prelude::*;

struct Steps;

#[restate_sdk::service]
impl Steps {
    #[handler]
    async fn run(&self, ctx: Context<'_>, steps: u32) -> Result<u32, HandlerError> {
        for _ in 0..steps {
            ctx.run(|| async { Ok(()) }).name("step").await?;
        }
        Ok(steps)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: restate-worker ADDRESS:PORT")?;
    let endpoint = Endpoint::builder().bind(Steps).build();
    HttpServer::new(endpoint).listen_and_serve(address.parse()?).await;
    Ok(())
}
