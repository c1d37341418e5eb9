//! Puts what `make ui` built (`ui/dist`) into the binary: compressed once, here. Without it the binary is whole all
//! the same, and says how the page is built.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 8;
/// What gains nothing by being compressed.
const DENSE: [&str; 6] = ["png", "jpg", "webp", "avif", "woff2", "gz"];

fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../ui/dist");
    // A folder that is not there would have this run for every build. Where it cannot be made, it does.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    find(&dist, DEPTH_MAX, &mut files)?;
    let mut files = files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&dist)?.to_string_lossy().replace('\\', "/");
            Ok((format!("/{name}"), file))
        })
        .collect::<Result<Vec<_>, std::path::StripPrefixError>>()?;
    // By the text that they are looked up by: paths are in another order, folder by folder.
    files.sort();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut table = String::from("&[\n");
    for (number, (name, file)) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let bytes = fs::read(file)?;
        let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default();
        let plain = out.join(format!("{number}.plain"));
        fs::write(&plain, &bytes)?;
        let packed = if DENSE.contains(&extension) {
            "None".to_owned()
        } else {
            let path = out.join(format!("{number}.gz"));
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&bytes)?;
            fs::write(&path, encoder.finish()?)?;
            format!("Some(include_bytes!({path:?}))")
        };
        let digest = Sha256::digest(&bytes);
        let tag = digest.iter().take(12).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        writeln!(
            table,
            "    Asset {{ path: {:?}, etag: {:?}, plain: include_bytes!({plain:?}), gzip: {packed} }},",
            name,
            format!("\"{tag}\""),
        )?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let hidden =
            path.file_name().and_then(|it| it.to_str()).is_none_or(|it| it.starts_with('.'));
        if path.is_dir() && depth > 0 {
            find(&path, depth - 1, files)?;
        } else if !hidden && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
