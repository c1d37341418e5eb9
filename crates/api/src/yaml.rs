//! YAML that comes from outside. The reader refuses deep nesting and aliases that grow out of proportion;
//! what it takes for the nesting that it does allow must not end the thread. Pure.

use serde::de::DeserializeOwned;

/// Stack of the reader: the deepest text that it does not refuse takes up to 2 MB in an unoptimised
/// build, which is all that a thread of the server has. Memory is taken only as it is used.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Reads one document.
///
/// # Errors
/// When it is not YAML, not of the shape wanted, or a bomb.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_saphyr::Error> {
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, || serde_saphyr::from_slice(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Each kind of nesting, at every depth that is allowed and beyond, on little stack.
    #[test]
    fn no_depth_overflows_the_stack() {
        let on_little_stack = std::thread::Builder::new().stack_size(512 * 1024).spawn(|| {
            for depth in [1, 30, 60, 62, 63, 64, 65, 70, 100, 1_000, 100_000] {
                for (open, middle, close) in [
                    ("[", "1", "]"),
                    ("{a: ", "1", "}"),
                    ("{\"a\":", "1", "}"),
                    ("[{a: ", "1", "}]"),
                ] {
                    let text = format!("{}{middle}{}", open.repeat(depth), close.repeat(depth));
                    let read = read::<Value>(text.as_bytes());
                    match depth {
                        ..=30 => assert!(read.is_ok(), "{depth} times {open}"),
                        70.. => assert!(read.is_err(), "{depth} times {open}"),
                        // Whether the reader takes it is its own affair.
                        _ => {}
                    }
                }
            }
            let mut block = String::new();
            for depth in 0..200 {
                block.push_str(&format!("{}a:\n", " ".repeat(depth)));
            }
            assert!(read::<Value>(block.as_bytes()).is_err());
        });
        on_little_stack.unwrap().join().unwrap();
    }
}
