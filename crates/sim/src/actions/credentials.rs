//! The twins of `credentials.generate` and `credentials.apply`. Passwords follow from the seed, as everything does.

use super::Twin;
use crate::simulation::Machines;
use quarterdeck_providers::{
    ActionContext, ActionError,
    redfish::twin::{
        Held,
        credentials_apply::{self, CredentialsApply},
        credentials_generate::{self, CredentialsGenerate},
        password,
    },
};
use std::convert::Infallible;

const ACCOUNT: &str = "PATCH /redfish/v1/AccountService/Accounts/1";

impl Twin for CredentialsGenerate {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: credentials_generate::Input,
    ) -> Result<credentials_generate::Output, ActionError> {
        input.check()?;
        let held = Held::read(context)?;
        let secret = held.secret();
        let mut visit = machines.visit(context).await?;
        // These BMCs take any length, so it may have been sent.
        if held.pending()?.is_some() {
            return Ok(credentials_generate::Output { secret, generated: false, change: None });
        }
        let byte =
            || Ok::<u8, Infallible>(u8::try_from(visit.dice.any() >> 56).unwrap_or_default());
        let Ok(new) = password(input.length, byte);
        let change = Some(held.keep_pending(new));
        Ok(credentials_generate::Output { secret, generated: true, change })
    }
}

impl Twin for CredentialsApply {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        _: credentials_apply::Input,
    ) -> Result<credentials_apply::Output, ActionError> {
        let held = Held::read(context)?;
        let mut visit = machines.visit(context).await?;
        let username = held.current().username.clone();
        let Some(new) = held.pending()? else {
            held.adopt()?;
            return Ok(credentials_apply::Output { username, changed: false });
        };
        if held.may_be_in_force().any(|it| visit.takes_login(&it)) {
            let set = new.password.clone();
            visit.command(ACCOUNT, |state| state.rest().service.change_password(set)).await?;
            return Ok(credentials_apply::Output { username, changed: true });
        }
        if visit.takes_login(&new) {
            return Ok(credentials_apply::Output { username, changed: false });
        }
        Err(held.neither(visit.authority()))
    }
}
