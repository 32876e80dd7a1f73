//! Every call comes in here: the gate says who calls, and the domain that the call is about is found, before any handler.
//!
//! No handler ever sees a core that its caller may not use.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, Ready, ready};
use proto::DOMAIN_KEY;
use proto::convert::error_to_status;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};
use tracing::instrument::{Instrument as _, Instrumented};

use crate::core::Core;
use crate::domains::Domains;
use crate::gate::{Gate, Grant, Judged, admit, is_about_domain};

/// Lets calls in. Handlers find the [`Grant`] and the domain's [`Core`] in the extensions.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) gate: Gate,
    pub(crate) domains: Arc<Domains>,
}

impl Door {
    fn find_core<B>(&self, request: &Request<B>, grant: &Grant) -> Result<Option<Arc<Core>>, Status> {
        if !is_about_domain(request.uri().path()) {
            return Ok(None);
        }
        let wanted = request.headers().get(DOMAIN_KEY).map(|v| v.as_bytes());
        let core = self.domains.choose(grant, wanted).and_then(|domain| domain.core());
        core.map(Some).map_err(|e| error_to_status(&e))
    }

    /// Puts into the request what handlers find there. Gives the span that the call belongs to.
    fn prepare<B>(&self, request: &mut Request<B>, grant: Grant) -> Result<tracing::Span, Status> {
        let core = self.find_core(request, &grant)?;
        request.extensions_mut().insert(grant);
        let span = core.as_ref().map_or_else(tracing::Span::none, |core| core.span.clone());
        if let Some(core) = core {
            request.extensions_mut().insert(core);
        }
        Ok(span)
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

type Calling<S, B> = <S as Service<Request<B>>>::Future;
type Answer<S, B> = Result<Response<Body>, <S as Service<Request<B>>>::Error>;

impl<S, B> Service<Request<B>> for Behind<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Either<Either<Ready<Answer<S, B>>, Instrumented<Calling<S, B>>>, BoxFuture<'static, Answer<S, B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let refuse = |status: Status| Either::Left(Either::Left(ready(Ok(status.into_http()))));
        match self.door.gate.judge(&request) {
            Ok(Judged::May(grant)) => match self.door.prepare(&mut request, grant) {
                Ok(span) => Either::Left(Either::Right(self.inner.call(request).instrument(span))),
                Err(status) => refuse(status),
            },
            Ok(Judged::Ask(others, token)) => {
                // The one that was asked whether it is ready takes the call; its copy the next.
                let copy = self.inner.clone();
                let (mut inner, door) = (std::mem::replace(&mut self.inner, copy), self.door.clone());
                Either::Right(Box::pin(async move {
                    let grant = others.identify(&token).await.map_err(|e| unjudged(&e));
                    let path = request.uri().path().to_owned();
                    let grant = grant.and_then(|grant| admit(&path, grant));
                    match grant.and_then(|grant| door.prepare(&mut request, grant)) {
                        Ok(span) => inner.call(request).instrument(span).await,
                        Err(status) => Ok(status.into_http()),
                    }
                }))
            }
            Err(status) => refuse(status),
        }
    }
}

/// The caller may come again: nothing was said against its token.
fn unjudged(e: &repository::Error) -> Status {
    tracing::warn!(error = %e.chain(), "a caller's token could not be judged");
    Status::unavailable("the token can't be judged now; try again soon")
}
