//! The quarterdeck binary.
fn main() {}
