//! An API server in memory: list, watch, create, replace, merge, delete, status, conflicts; and what a real one rarely does: 410, dropped
//! watches, errors, silence.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body as Answer;
use axum::http::{Method, Request, Response, StatusCode};
use futures::StreamExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The kind as `group/plural`, the namespace and the name.
type Name = (String, String, String);

/// The server. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct FakeApi(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts up with each event; and the generation of watches, of which older ones end.
    news: watch::Sender<(usize, u64)>,
}

#[derive(Debug, Default)]
struct State {
    /// By `group/plural`, namespace and name.
    objects: BTreeMap<Name, Value>,
    /// All that ever happened: the version, of which kind, and the event.
    events: Vec<(u64, String, Value)>,
    version: u64,
    /// Watches from before this version are answered with 410.
    compacted: u64,
    /// Requests to be refused: how often, method, part of the path, and with what.
    refusals: Vec<(usize, Method, String, u16)>,
    /// Requests that are never answered.
    silent: Vec<(Method, String)>,
    /// Whose tokens these are.
    tokens: HashMap<String, Value>,
    requests: Vec<(Method, String)>,
}

/// What a request is about.
#[derive(Clone, Debug)]
struct About {
    kind: String,
    namespace: String,
    name: Option<String>,
    status: bool,
}

impl Default for FakeApi {
    fn default() -> Self {
        let state = State { version: 100, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), news: watch::channel((0, 0)).0 }))
    }
}

impl FakeApi {
    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Puts an object there as if somebody had applied it; `kind` is `group/plural`.
    pub(crate) fn put(&self, kind: &str, object: Value) -> Value {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let put = self.lock().put(&(kind.to_owned(), namespace, name), object);
        self.tell();
        put
    }

    /// Takes an object away.
    pub(crate) fn remove(&self, kind: &str, namespace: &str, name: &str) {
        self.lock().remove(&(kind.to_owned(), namespace.to_owned(), name.to_owned()));
        self.tell();
    }

    /// What is there.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Names of all objects of a kind, as `namespace/name`.
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        let state = self.lock();
        let of = state.objects.keys().filter(|(k, ..)| k == kind);
        of.map(|(_, namespace, name)| format!("{namespace}/{name}")).collect()
    }

    /// The next `times` requests like that get this code.
    pub(crate) fn refuse(&self, times: usize, method: Method, path: &str, code: u16) {
        self.lock().refusals.push((times, method, path.to_owned(), code));
    }

    /// Requests like that get no answer any more, or again.
    pub(crate) fn silence(&self, method: Method, path: &str, silent: bool) {
        let mut state = self.lock();
        match silent {
            true => state.silent.push((method, path.to_owned())),
            false => state.silent.retain(|(m, p)| (m, p.as_str()) != (&method, path)),
        }
    }

    /// All watches end, as when a connection breaks; with `compact`, what they missed can't be had any more.
    pub(crate) fn drop_watches(&self, compact: bool) {
        if compact {
            let mut state = self.lock();
            state.version += 1;
            state.compacted = state.version;
        }
        self.0.news.send_modify(|(_, generation)| *generation += 1);
    }

    /// A token is of this user.
    pub(crate) fn know_token(&self, token: &str, user: Value) {
        self.lock().tokens.insert(token.to_owned(), user);
    }

    /// How many requests like that came.
    pub(crate) fn count(&self, method: &Method, path: &str) -> usize {
        self.lock().requests.iter().filter(|(m, p)| m == method && p.contains(path)).count()
    }

    fn tell(&self) {
        self.0.news.send_modify(|(news, _)| *news += 1);
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let (method, uri) = (parts.method, parts.uri.to_string());
        let body = body.collect_bytes().await.unwrap();
        let silent = {
            let mut state = self.lock();
            state.requests.push((method.clone(), uri.clone()));
            state.silent.iter().any(|(m, p)| *m == method && uri.contains(p.as_str()))
        };
        if silent {
            std::future::pending::<()>().await;
        }
        let refused = self.lock().refusal(&method, &uri);
        if let Some(code) = refused {
            return failure(code, "as the test wants it");
        }
        let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
        let about = About::new(path);
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if about.kind == "authentication.k8s.io/tokenreviews" {
            return reply(201, &self.lock().review(body));
        }
        if method == Method::GET && query.contains("watch=true") {
            return self.watch(&about, query);
        }
        let answer = self.lock().act(&method, &about, query, body);
        self.tell();
        answer
    }

    fn watch(&self, about: &About, query: &str) -> Response<Answer> {
        let from: u64 = parameter(query, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        if from < self.lock().compacted {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                "reason": "Expired", "message": "too old resource version"});
            return lines(futures::stream::iter([json!({"type": "ERROR", "object": status})]).boxed());
        }
        let news = self.0.news.subscribe();
        let generation = news.borrow().1;
        let follower =
            Follower { api: self.clone(), kind: about.kind.clone(), from, at: 0, news, generation };
        lines(futures::stream::unfold(follower, Follower::next).boxed())
    }
}

/// One watch.
struct Follower {
    api: FakeApi,
    kind: String,
    from: u64,
    at: usize,
    news: watch::Receiver<(usize, u64)>,
    generation: u64,
}

impl Follower {
    async fn next(mut self) -> Option<(Value, Self)> {
        loop {
            if self.news.borrow_and_update().1 != self.generation {
                return None;
            }
            let found = {
                let state = self.api.lock();
                let mut later = state.events.iter().enumerate().skip(self.at);
                let found = later.find(|(_, (version, kind, _))| *version > self.from && *kind == self.kind);
                found.map(|(at, (_, _, event))| (at + 1, event.clone()))
            };
            if let Some((at, event)) = found {
                self.at = at;
                return Some((event, self));
            }
            self.news.changed().await.ok()?;
        }
    }
}

impl About {
    /// From `/api/v1/...` or `/apis/GROUP/VERSION/...`.
    fn new(path: &str) -> Self {
        let all: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match all.as_slice() {
            ["api", _, rest @ ..] => ("core", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => ("", all.as_slice()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => {
                (*namespace, rest)
            }
            _ => ("", rest),
        };
        Self {
            kind: format!("{group}/{}", rest.first().unwrap_or(&"")),
            namespace: namespace.to_owned(),
            name: rest.get(1).map(|n| (*n).to_owned()),
            status: rest.get(2) == Some(&"status"),
        }
    }

    fn key(&self, body: &Value) -> Name {
        let name = self.name.clone().or_else(|| body["metadata"]["name"].as_str().map(str::to_owned));
        (self.kind.clone(), self.namespace.clone(), name.unwrap_or_default())
    }
}

impl State {
    fn refusal(&mut self, method: &Method, uri: &str) -> Option<u16> {
        let fits = |(left, m, part, _): &&mut (usize, Method, String, u16)| {
            *left > 0 && m == method && uri.contains(part.as_str())
        };
        let refusal = self.refusals.iter_mut().find(fits)?;
        refusal.0 -= 1;
        Some(refusal.3)
    }

    fn review(&self, mut review: Value) -> Value {
        let token = review["spec"]["token"].as_str().unwrap_or_default();
        review["status"] = match self.tokens.get(token) {
            Some(user) => {
                json!({"authenticated": true, "user": user, "audiences": review["spec"]["audiences"]})
            }
            None => json!({"authenticated": false, "error": "nobody's"}),
        };
        review
    }

    fn put(&mut self, key: &Name, mut object: Value) -> Value {
        self.version += 1;
        let old = self.objects.get(key);
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.version.to_string());
        for (name, first) in [
            ("uid", json!(format!("uid-{}", self.version))),
            ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
        ] {
            let kept = old.map(|o| o["metadata"][name].clone()).filter(|v| !v.is_null());
            if meta[name].is_null() || kept.is_some() {
                meta[name] = kept.unwrap_or(first);
            }
        }
        let before = old.and_then(|o| o["metadata"]["generation"].as_i64()).unwrap_or(0);
        let changed = old.is_none_or(|o| o["spec"] != object["spec"]);
        object["metadata"]["generation"] = json!(before + i64::from(changed));
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.events.push((self.version, key.0.clone(), json!({"type": kind, "object": object})));
        self.objects.insert(key.clone(), object.clone());
        object
    }

    fn remove(&mut self, key: &Name) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.events.push((self.version, key.0.clone(), json!({"type": "DELETED", "object": object})));
        Some(object)
    }

    fn act(&mut self, method: &Method, about: &About, query: &str, body: Value) -> Response<Answer> {
        let key = about.key(&body);
        let there = self.objects.get(&key).cloned();
        match (method.as_str(), about.name.is_some(), there) {
            ("GET", false, _) => self.list(about, query),
            ("GET", true, Some(object)) => reply(200, &object),
            ("POST", _, Some(_)) => failure(409, "it exists already"),
            ("POST", _, None) => reply(201, &self.put(&key, body)),
            (_, _, None) => failure(404, "not found"),
            ("PUT", _, Some(old)) => {
                let version = &body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != old["metadata"]["resourceVersion"] {
                    return failure(409, "the object has been modified");
                }
                let new = match about.status {
                    true => with(old, "status", &body),
                    false => match old["status"].is_null() {
                        true => body,
                        false => with(body, "status", &old),
                    },
                };
                reply(200, &self.put(&key, new))
            }
            ("PATCH", _, Some(mut old)) => {
                merge(&mut old, &body);
                reply(200, &self.put(&key, old))
            }
            ("DELETE", _, Some(old)) => {
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && *uid != old["metadata"]["uid"] {
                    return failure(409, "it is another object");
                }
                self.remove(&key);
                reply(200, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => failure(405, "no such method"),
        }
    }

    /// In pages, as asked for.
    fn list(&self, about: &About, query: &str) -> Response<Answer> {
        let of = |(kind, namespace, _): &&Name| {
            *kind == about.kind && (about.namespace.is_empty() || *namespace == about.namespace)
        };
        let all: Vec<&Value> = self.objects.iter().filter(|(key, _)| of(key)).map(|(_, o)| o).collect();
        let from: usize = parameter(query, "continue").and_then(|c| c.parse().ok()).unwrap_or(0);
        let limit: usize = parameter(query, "limit").and_then(|l| l.parse().ok()).unwrap_or(usize::MAX);
        let page: Vec<&Value> = all.iter().skip(from).take(limit).copied().collect();
        let next = from.saturating_add(page.len());
        let mut meta = json!({"resourceVersion": self.version.to_string()});
        if next < all.len() {
            meta["continue"] = json!(next.to_string());
        }
        reply(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": meta, "items": page}))
    }
}

fn with(mut to: Value, field: &str, from: &Value) -> Value {
    to[field] = from[field].clone();
    to
}

/// JSON merge patch.
fn merge(to: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *to = patch.clone();
        return;
    };
    for (name, value) in patch {
        match value.is_null() {
            true => {
                to.as_object_mut().unwrap().remove(name);
            }
            false => merge(&mut to[name], value),
        }
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

fn reply(code: u16, body: &Value) -> Response<Answer> {
    let mut response = Response::new(Answer::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn failure(code: u16, message: &str) -> Response<Answer> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "Other",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message});
    reply(code, &status)
}

fn lines(events: futures::stream::BoxStream<'static, Value>) -> Response<Answer> {
    let lines = events.map(|e| Ok::<_, Infallible>(format!("{e}\n")));
    Response::new(Answer::from_stream(lines))
}
