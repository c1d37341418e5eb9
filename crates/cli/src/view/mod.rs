//! What people and programs are shown: objects in, lines and values out. Pure: must know no plane, no terminal and no
//! clock.

pub(crate) mod bar;
pub(crate) mod campaign;
pub(crate) mod enrol;
pub(crate) mod harm;
pub(crate) mod impact;
pub(crate) mod machine;
pub(crate) mod parts;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod timeline;
pub(crate) mod top;
pub(crate) mod user_data;
pub(crate) mod why;
pub(crate) mod words;
pub(crate) mod workload;

#[cfg(test)]
mod tests;
