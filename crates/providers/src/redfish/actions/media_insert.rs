//! `media.insert`: an image in a virtual drive of the machine.
//!
//! Repeating it is harmless: it looks first and sends nothing when the image is in the drive.

use http::Uri;
use quarterdeck_model::kinds::SecretReference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Redfish;
use super::super::media::{self, MediaType, Medium};
use super::SERVER;
use crate::action::{Action, ActionContext, ActionError, Reason};
use crate::secrets;

/// What images may be fetched with (DSP0268, VirtualMedia.TransferProtocolType).
const SCHEMES: [&str; 4] = ["http", "https", "nfs", "cifs"];

/// Input of `media.insert`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// Where the BMC fetches the image: an address with `http://`, `https://`, `nfs://` or
    /// `cifs://`.
    pub image: String,
    /// What kind of medium it is; `CD` when left out.
    #[serde(default)]
    pub media_type: MediaType,
    /// Id of the virtual drive; the first that takes the kind of medium when left out. Whatever
    /// is in it is taken out.
    #[serde(default)]
    pub slot: Option<String>,
    /// The machine may write to it.
    #[serde(default)]
    pub writable: bool,
    /// Secret with the keys `username` and `password`, for the server of the image.
    #[serde(default)]
    pub credentials_secret_ref: Option<SecretReference>,
}

impl Input {
    /// Refuses an image that cannot be fetched; answers the user name and password for it.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] for the address, or when the Secret lacks what is needed.
    pub fn check(&self, context: &ActionContext) -> Result<Option<(String, String)>, ActionError> {
        check(&self.image)?;
        let Some(reference) = &self.credentials_secret_ref else { return Ok(None) };
        let secret = secrets::read(context, reference)?;
        let text = |key| secrets::text(&secret, reference, key);
        Ok(Some((text("username")?, text("password")?)))
    }
}

/// Output of `media.insert`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Id of the virtual drive.
    pub slot: String,
    /// Whether a command was sent; false when the image was in the drive already.
    pub changed: bool,
}

/// The action, at real BMCs.
pub struct MediaInsert {
    pub(super) redfish: Redfish,
}

impl Action for MediaInsert {
    type Input = Input;
    type Output = Output;

    const NAME: &'static str = "media.insert";
    const SUMMARY: &'static str = "Puts an image in a server's virtual CD or USB drive.";
    const TARGET_KINDS: &'static [&'static str] = SERVER;
    const EFFECTS: bool = true;
    const DISRUPTIVE: bool = false;

    async fn perform(&self, context: &ActionContext, input: Input) -> Result<Output, ActionError> {
        let username_password = input.check(context)?;
        let system = self.redfish.open(context).await?;
        let drives = media::drives(&system).await?;
        let mut drive =
            media::choose(drives, input.slot.as_deref(), input.media_type).map_err(|why| {
                let message = format!("{}: {why}", system.name());
                ActionError::permanent(Reason::NotFound, message)
            })?;
        let slot = drive.slot();
        if drive.holds(&input.image) {
            return Ok(Output { slot, changed: false });
        }
        if drive.is_inserted() {
            media::eject(&system, &mut drive).await?;
        }
        let medium =
            Medium { image: &input.image, write_protected: !input.writable, username_password };
        media::insert(&system, &mut drive, &medium).await?;
        Ok(Output { slot, changed: true })
    }
}

/// The address is kept out of messages: it may be signed.
fn check(image: &str) -> Result<(), ActionError> {
    let invalid = |why: &str| ActionError::permanent(Reason::InvalidInput, why);
    let uri: Uri = image.parse().map_err(|error| {
        invalid("media.insert: image is not an address such as https://host/file.iso")
            .because(error)
    })?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !SCHEMES.contains(&scheme) {
        return Err(invalid(
            "media.insert: image must begin with http://, https://, nfs:// or cifs://",
        ));
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(invalid(
            "media.insert: image must not hold a user or password; use credentialsSecretRef",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_addresses_without_passwords() {
        for good in ["http://10.0.0.1/a.iso", "https://h/a?b=c", "nfs://h/e/a.iso", "cifs://h/a"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for wrong in ["", "a.iso", "/a.iso", "file:///etc/passwd", "https://u:p@h/a", "http://"] {
            assert_eq!(check(wrong).unwrap_err().reason, Reason::InvalidInput, "{wrong}");
        }
    }
}
