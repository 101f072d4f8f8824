//! How a command talks to the daemon that holds the store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use karez_api::Json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Token;
use crate::cli::Usage;
use crate::settings::Settings;

/// Where a running daemon writes the address of its admin side.
const ADDRESS_FILE: &str = "admin.address";

/// Tells later commands where this daemon is, for as long as it lives.
pub(crate) struct Announced(PathBuf);

impl Announced {
    /// # Errors
    /// The data folder cannot be written.
    pub(crate) fn make(data_dir: &Path, address: SocketAddr) -> std::io::Result<Self> {
        let path = data_dir.join(ADDRESS_FILE);
        std::fs::write(&path, address.to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // One that stays is found out when nobody answers there.
        std::fs::remove_file(&self.0).ok();
    }
}

/// A daemon that answered.
pub(crate) struct Client {
    address: SocketAddr,
    token: Token,
}

impl Client {
    /// The daemon of these settings, if it runs.
    ///
    /// # Errors
    /// It runs, but its token cannot be read.
    pub(crate) async fn find(settings: &Settings) -> Result<Option<Self>> {
        let announced = std::fs::read_to_string(settings.data_dir.join(ADDRESS_FILE)).ok();
        let announced = announced.and_then(|text| text.trim().parse().ok());
        let chosen = settings.admin_is_chosen.then_some(settings.admin);
        let Some(address) = chosen.or(announced) else {
            return Ok(None);
        };
        let connect = tokio::time::timeout(Duration::from_secs(3), TcpStream::connect(address));
        if !connect.await.is_ok_and(|stream| stream.is_ok()) {
            return Ok(None);
        }
        let token = Token::read(&settings.data_dir)
            .with_context(|| format!("something answers on {address}, but {} has no readable admin.token; name the daemon's folder with --data-dir", settings.data_dir.display()))?;
        Ok(Some(Self { address, token }))
    }

    /// As [`Client::find`], where only a running daemon will do.
    ///
    /// # Errors
    /// None runs.
    pub(crate) async fn expect(settings: &Settings) -> Result<Self> {
        let found = Self::find(settings).await?;
        found.with_context(|| {
            let folder = settings.data_dir.display();
            format!("no daemon runs with its data in {folder}; start one with `karez run`, or say --data-dir")
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Json> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// # Errors
    /// The daemon's own words.
    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Json> {
        let mut connection = JoinSet::new();
        let response = self.ask(method, path, HeaderMap::new(), body.into(), &mut connection).await?;
        let good = response.status().is_success();
        let body = response.into_body().collect().await?.to_bytes();
        let answer: Json = serde_json::from_slice(&body).context("the daemon's answer is not JSON")?;
        if !good {
            let said = answer["error"].as_str().unwrap_or("the daemon refused");
            match answer["code"] == "usage" {
                true => return Err(Usage(said.to_owned()).into()),
                false => bail!("{said}"),
            }
        }
        Ok(answer)
    }

    /// Hands each piece of a stream to `each` until it ends.
    ///
    /// # Errors
    /// As [`Client::send`], or what `each` says.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut connection = JoinSet::new();
        let response = self.ask(method, path, HeaderMap::new(), Bytes::new(), &mut connection).await?;
        let good = response.status().is_success();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if !good {
                let answer: Json = serde_json::from_slice(&data).unwrap_or_default();
                bail!("{}", answer["error"].as_str().unwrap_or("the daemon refused"));
            }
            each(&data)?;
        }
        Ok(())
    }

    /// The daemon's answer as it is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn page(&self, path: &str, headers: HeaderMap) -> Result<Response<Bytes>> {
        let mut connection = JoinSet::new();
        let response = self.ask(Method::GET, path, headers, Bytes::new(), &mut connection).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        connection: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address).await.context("the daemon is gone")?;
        let (mut sender, driver) = handshake(TokioIo::new(stream)).await?;
        connection.spawn(async move { driver.await.ok().unwrap_or_default() });
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header(HOST, format!("localhost:{}", self.address.port()))
            .header(AUTHORIZATION, self.token.header())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        request.headers_mut().extend(headers);
        Ok(sender.send_request(request).await?)
    }
}
