//! What a simulated Redfish provider shares with the real one: the actions with their types, what they read
//! from their target, and what people are told. A twin has nothing of its own but the machine.

pub use super::actions::{
    boot_next, boot_order, credentials_apply, credentials_generate, disk_erase, firmware_update,
    firmware_wait, inventory_refresh, media_eject, media_insert, power_reset, power_set,
};
pub use super::boot::{BootOption, Device, Mode};
pub use super::credentials::{Held, password};
pub use super::limits::{POLL_MAX, REQUEST_TIMEOUT};
pub use super::media::{MediaType, choose_slot};
pub use super::system::same;
pub use super::target::{Credentials, Endpoint, Target};
pub use crate::transport::TransportError;
