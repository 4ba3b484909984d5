//! Operations on settings.

use wire::broker::{ConfigRefusal, ConfigSeen, ConfigToChange, MetaAlterConfigsRequest, MetaAlterConfigsResponse};

use super::refusals::{failure, meta_error};
use super::values::{only, shared, text, unknown_kind};
use super::{Misfit, Request};
use crate::control::configs::{AlterConfigs, ConfigChange, ConfigResource};
use crate::error::ConfigError;

fn refusal(error: &ConfigError) -> Result<ConfigRefusal, Misfit> {
    let of = |kind| ConfigRefusal { kind, ..Default::default() };
    Ok(match error {
        ConfigError::UnknownTopic(name) => ConfigRefusal { name: text(name), ..of(0) },
        ConfigError::Changed => of(1),
        ConfigError::Meta(error) => ConfigRefusal { meta: vec![failure(error)?], ..of(2) },
    })
}

fn error(r: ConfigRefusal) -> Result<ConfigError, Misfit> {
    Ok(match r.kind {
        0 => ConfigError::UnknownTopic(r.name.into()),
        1 => ConfigError::Changed,
        2 => ConfigError::Meta(meta_error(&only(r.meta, "failures")?)?),
        kind => return Err(unknown_kind("kind of refusal of settings", kind)),
    })
}

impl Request for AlterConfigs {
    type Message = MetaAlterConfigsRequest;

    fn to_request(&self) -> Result<Self::Message, Misfit> {
        let saw = self.saw.iter().map(|(key, value)| ConfigSeen { key: (&**key).into(), value: (&**value).into() });
        let change = |change: &ConfigChange| ConfigToChange {
            key: (&change.key).into(),
            value: change.value.as_ref().map(Into::into),
        };
        Ok(MetaAlterConfigsRequest {
            resource_type: self.of.kind,
            resource_name: (&self.of.name).into(),
            saw: saw.collect(),
            changes: self.changes.iter().map(change).collect(),
        })
    }

    fn from_request(request: Self::Message) -> Result<Self, Misfit> {
        let change = |c: ConfigToChange| ConfigChange { key: c.key.into(), value: c.value.map(Into::into) };
        Ok(Self {
            of: ConfigResource { kind: request.resource_type, name: request.resource_name.into() },
            saw: request.saw.iter().map(|seen| (shared(&seen.key), shared(&seen.value))).collect(),
            changes: request.changes.into_iter().map(change).collect(),
        })
    }

    fn to_response(answer: Self::Answer) -> Result<MetaAlterConfigsResponse, Misfit> {
        let refusal = answer.err().map(|why| refusal(&why)).transpose()?;
        Ok(MetaAlterConfigsResponse { refusal, ..Default::default() })
    }

    fn from_response(response: MetaAlterConfigsResponse) -> Result<Self::Answer, Misfit> {
        response.refusal.map_or(Ok(Ok(())), |refusal| error(refusal).map(Err))
    }
}
