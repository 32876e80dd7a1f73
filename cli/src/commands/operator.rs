//! `operator` and `crds`: the coordinator inside a cluster of Kubernetes, and the custom resources that it goes by.

use anyhow::{Context as _, Result, anyhow};
use operator::ConfigLayer;
use operator::resources::generate;

use crate::app::App;
use crate::args::{CrdsArgs, OperatorArgs};
use crate::exit::Exit;
use crate::{output, settings};

pub(super) async fn operator(app: &App, args: OperatorArgs) -> Result<Exit> {
    let flags = ConfigLayer {
        namespace: args.namespace,
        pod_name: args.pod_name,
        pod_ip: args.pod_ip,
        listen: args.listen,
        http_listen: args.http_listen,
        state_dir: args.state_dir,
        cluster_name: args.cluster_name,
        mover_image: args.mover_image,
    };
    let layer = ConfigLayer::load(args.config.as_deref(), &settings::variable, flags)?;
    operator::run(layer.validate()?, app.cancel.clone()).await.context("operator")?;
    Ok(Exit::Done)
}

pub(super) fn crds(args: CrdsArgs) -> Result<Exit> {
    let text = match args.docs {
        true => generate::reference(),
        false => generate::yaml().map_err(|e| anyhow!("custom resources: {e}"))?,
    };
    output::write(text.as_bytes())?;
    output::flush()?;
    Ok(Exit::Done)
}
