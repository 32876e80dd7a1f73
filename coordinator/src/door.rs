//! Every call comes in here: the gate says who calls, and the domain that the call is about is found, before any handler.
//!
//! No handler ever sees a core that its caller may not use.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use proto::DOMAIN_KEY;
use proto::convert::error_to_status;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};
use tracing::instrument::{Instrument as _, Instrumented};

use crate::core::Core;
use crate::domains::Domains;
use crate::gate::{Gate, Grant, is_ours};

/// Lets calls in. Handlers find the [`Grant`] and the domain's [`Core`] in the extensions.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) gate: Gate,
    pub(crate) domains: Arc<Domains>,
}

impl Door {
    fn judge<B>(&self, request: &Request<B>) -> Result<(Grant, Option<Arc<Core>>), Status> {
        let grant = self.gate.judge(request)?;
        if !is_ours(request.uri().path()) {
            return Ok((grant, None));
        }
        let wanted = request.headers().get(DOMAIN_KEY).map(|v| v.as_bytes());
        let core = self.domains.choose(&grant, wanted).and_then(|domain| domain.core());
        core.map(|core| (grant, Some(core))).map_err(|e| error_to_status(&e))
    }
}

/// The core of the domain that a call is about.
pub(crate) fn core_of<T>(request: &tonic::Request<T>) -> Result<Arc<Core>, Status> {
    let core = request.extensions().get::<Arc<Core>>().cloned();
    core.ok_or_else(|| Status::internal("the call came in without a domain"))
}

impl<S> Layer<S> for Door {
    type Service = Behind<S>;

    fn layer(&self, inner: S) -> Behind<S> {
        Behind { inner, door: self.clone() }
    }
}

/// Services behind the door.
#[derive(Clone, Debug)]
pub(crate) struct Behind<S> {
    inner: S,
    door: Door,
}

impl<S, B> Service<Request<B>> for Behind<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, Instrumented<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.door.judge(&request) {
            Ok((grant, core)) => {
                request.extensions_mut().insert(grant);
                let span = core.as_ref().map_or_else(tracing::Span::none, |core| core.span.clone());
                if let Some(core) = core {
                    request.extensions_mut().insert(core);
                }
                Either::Right(self.inner.call(request).instrument(span))
            }
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}
