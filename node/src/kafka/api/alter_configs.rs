//! AlterConfigs: gives topics settings in place of all that they had.

use std::sync::Arc;

use millstream_actors::error::Refusal;
use millstream_actors::image::Image;
use millstream_transport::kafka::messages::alter_configs::AlterConfigsRequest;
use millstream_transport::kafka::messages::alter_configs::request::Resource;
use millstream_transport::kafka::messages::alter_configs::response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::super::call::Call;
use super::super::configs::{Changes, Wish, alter_each, topic_to_alter};
use super::super::error::number_of;
use super::super::service::Service;
use crate::security::authorize::Rights;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<AlterConfigsRequest<'_>>(&body) else { return };
    let image = service.image();
    let wishes: Vec<Wish> = request
        .resources
        .iter()
        .map(|resource| {
            let wish = wish((&image, call.rights()), &resource);
            (resource.resource_type, resource.resource_name.into_owned(), wish)
        })
        .collect();
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        let done = alter_each(&service, wishes, validate_only).await.into_iter();
        let responses = done.map(|(resource_type, name, done)| AlterConfigsResourceResponse {
            error_code: number_of(&done),
            error_message: done.err().map(|refusal| refusal.text.into()),
            resource_type,
            resource_name: name.into(),
        });
        call.answer(&AlterConfigsResponse { responses: responses.collect(), ..Default::default() });
    });
}

/// What is not named goes back to its default.
fn wish(of: (&Image, &Rights), resource: &Resource<'_>) -> Result<Changes, Refusal> {
    let topic = topic_to_alter(of, resource.resource_type, &resource.resource_name)?;
    let mut changes: Changes = topic.overrides.keys().map(|name| (name.clone(), None)).collect();
    for config in &resource.configs {
        changes.insert(config.name.to_string(), config.value.map(Into::into));
    }
    Ok(changes)
}
