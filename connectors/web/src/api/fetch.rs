//! One page: asked for, judged, read.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use karez_api::{Body, Clock, Fault, Form, Json, Millis, Record};
use karez_net::{Connection, Failure, Response, Reuse, Streamed, Tally, place};
use memchr::memmem;
use reqwest::Url;

use super::ask::{Context, Manner, bare};
use super::decode::Rows;
use super::graphql;
use super::page::{Seen, envelope};
use super::rules::Ruling;
use super::state::Token;
use super::stream::Reading;
use crate::http::as_record;

/// Longest JSON answer that is held as a whole where it could be read while it comes, in bytes.
const HELD: u64 = 8 << 20;

/// What a page is fetched with.
pub(super) struct Fetch<'a> {
    pub(super) reading: &'a Reading,
    pub(super) connection: &'a Connection,
    /// To whom reports may lie with.
    pub(super) elsewhere: Option<&'a Connection>,
    pub(super) clock: &'a dyn Clock,
    pub(super) tally: &'a Arc<Tally>,
    /// Query parameters that are not saved.
    pub(super) own_parameters: &'a [String],
    pub(super) reuse: Reuse,
    /// No answer is read while it comes.
    pub(super) at_once: bool,
}

/// What came of asking for a page.
pub(super) enum Fetched {
    Page(Box<Page>),
    Long(Box<Long>),
    /// There is nothing: the answer says so, or a rule.
    Nothing,
    /// A rule says to leave the partition out; why.
    Skip(String),
}

/// A page as it came.
pub(super) struct Page {
    pub(super) records: Vec<Body>,
    pub(super) envelope: Record,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    /// Errors that came with it and are taken for what they are worth.
    pub(super) partial: u64,
}

/// An answer whose rows are read while they come.
pub(super) struct Long {
    streamed: Streamed,
    rows: Rows,
    to: To,
    ended: bool,
}

impl Long {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.streamed.headers
    }

    /// All rows, up to so many bytes.
    ///
    /// # Errors
    /// As [`Long::next`], or there are more.
    pub(super) async fn all(&mut self, most: usize) -> Result<Vec<Body>, Fault> {
        let (mut all, mut length) = (Vec::new(), 0);
        while let Some(rows) = self.next().await? {
            length += rows.iter().map(Body::length).sum::<usize>();
            if length > most {
                let message =
                    format!("the answer has more than {most} bytes, and all of it is needed at once");
                let fault = Fault::validation("response_too_large", message);
                return Err(self.to.told(&fault));
            }
            all.extend(rows);
        }
        Ok(all)
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// It broke off, or is not what it should be.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Body>>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.streamed.next().await.map_err(|failure| failure.fault)?;
        self.ended = piece.is_none();
        self.rows.feed(piece).map(Some).map_err(|fault| self.to.told(&fault))
    }
}

/// What came of asking for an answer as a whole.
enum Whole {
    Answer(Response),
    Fetched(Fetched),
}

/// Where a request went, for messages.
#[derive(Clone)]
struct To {
    method: Method,
    url: Url,
}

impl To {
    fn told(&self, fault: &Fault) -> Fault {
        fault.clone().with_message(format!("{}: {}", place(&self.method, &self.url), fault.message()))
    }

    fn answered(&self, status: StatusCode) -> String {
        format!("{} answered {}", place(&self.method, &self.url), status.as_u16())
    }
}

/// Why there is no page.
pub(super) struct NoPage {
    pub(super) fault: Fault,
    pub(super) status: Option<StatusCode>,
}

impl NoPage {
    /// The far end does not know what was asked for: a token may have expired.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.status, Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE))
    }

    /// The far end took too long.
    fn is_overload(&self) -> bool {
        let late = matches!(self.status, Some(StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT));
        late || self.fault.code() == "timeout"
    }
}

impl From<&Failure> for NoPage {
    fn from(failure: &Failure) -> Self {
        let status = failure.response.as_ref().map(|answer| answer.status);
        Self { fault: failure.fault.clone(), status }
    }
}

impl From<Fault> for NoPage {
    fn from(fault: Fault) -> Self {
        Self { fault, status: None }
    }
}

impl Fetch<'_> {
    /// A page; asked for again in half the size where the far end does not manage, if its size means nothing to those
    /// behind it. `size` is what to ask for from then on.
    ///
    /// # Errors
    /// As the call, or the answer is not what it should be.
    pub(super) async fn page(
        &self,
        context: &Context,
        token: &Token,
        size: &mut Option<u64>,
    ) -> Result<Fetched, NoPage> {
        loop {
            let asked = size.or_else(|| self.reading.paging.size());
            match self.page_of(context, token, asked).await {
                Err(none) if self.reading.paging.is_elastic() && none.is_overload() && asked > Some(1) => {
                    *size = asked.map(|asked| asked / 2);
                }
                fetched => return fetched,
            }
        }
    }

    async fn page_of(&self, context: &Context, token: &Token, size: Option<u64>) -> Result<Fetched, NoPage> {
        let now = self.clock.now();
        let (connection, request) = self.request(context, token, size, now).await?;
        let elsewhere = !std::ptr::eq(connection, self.connection);
        self.answer_to(connection, request, now).await.map_err(|none| match none.status {
            // An address that was its own proof is none any more.
            Some(StatusCode::FORBIDDEN) if elsewhere => NoPage { status: Some(StatusCode::GONE), ..none },
            _ => none,
        })
    }

    async fn answer_to(
        &self,
        connection: &Connection,
        request: karez_net::Request,
        now: Millis,
    ) -> Result<Fetched, NoPage> {
        let to = To { method: request.method.clone(), url: request.url.clone() };
        if self.reading.paging.is_single()
            && !self.at_once
            && let Some(rows) = self.reading.decoder.lines()
        {
            return self.begin(connection, request, &to, rows, now).await;
        }
        let answer = match self.whole(connection, request, &to, now).await? {
            Whole::Answer(answer) => answer,
            Whole::Fetched(fetched) => return Ok(fetched),
        };
        if is_bare(answer.status) && answer.body.is_empty() {
            return self.bare(answer.status, &answer.headers, &to, now);
        }
        let partial = self.said(&answer.body, now).await.map_err(|fault| to.told(&fault))?;
        let judged = |envelope: &Record| {
            let ruling = self.reading.judge.of_answer(answer.status, &answer.headers, envelope);
            ruling.map_err(|fault| to.told(&fault))
        };
        let page = match self.reading.decoder.read(answer.body.clone()) {
            Ok(page) => page,
            // Where there are no records, a rule may know why.
            Err(fault) => match judged(&as_record(Body::from_bytes(Form::Json, answer.body.clone()), now)) {
                Ok(Some(ruling)) => return ruled(ruling, to.answered(answer.status)),
                _ => return Err(to.told(&fault).into()),
            },
        };
        let envelope = envelope(page.envelope, now);
        match judged(&envelope)? {
            Some(ruling) => ruled(ruling, to.answered(answer.status)),
            None => {
                let url = to.url;
                let page = Page { records: page.records, envelope, headers: answer.headers, url, partial };
                Ok(Fetched::Page(Box::new(page)))
            }
        }
    }

    /// An answer as a whole, or what else is made of it: one that is too long to be held is read while it comes.
    async fn whole(
        &self,
        connection: &Connection,
        mut request: karez_net::Request,
        to: &To,
        now: Millis,
    ) -> Result<Whole, NoPage> {
        let most = connection.max_response();
        let apart = most > HELD && !self.looks_beside_records(connection);
        let rows = || self.reading.decoder.items(usize::try_from(most).unwrap_or(usize::MAX));
        let Some(rows) = apart.then(rows).flatten() else {
            return self.answered(connection.call(request).await, now);
        };
        let asked = karez_net::Request { max_response: Some(HELD), ..request.clone() };
        match connection.call(asked).await {
            Err(failure) if failure.fault.code() == "response_too_large" => {}
            other => return self.answered(other, now),
        }
        request.reuse = Reuse::Never;
        self.begin(connection, request, to, rows, now).await.map(Whole::Fetched)
    }

    /// Whether anything of an answer counts beside its records, or all of them are wanted at once.
    fn looks_beside_records(&self, connection: &Connection) -> bool {
        let reading = self.reading;
        let rules = reading.judge.bodies || connection.spec().errors.iter().any(|rule| rule.body.is_some());
        self.at_once || rules || !reading.paging.is_single() || reading.on_errors.is_some()
    }

    fn answered(&self, called: Result<Response, Failure>, now: Millis) -> Result<Whole, NoPage> {
        match called {
            Ok(answer) => Ok(Whole::Answer(answer)),
            Err(failure) => self.failed(&failure, now).map(Whole::Fetched),
        }
    }

    async fn request(
        &self,
        context: &Context,
        token: &Token,
        size: Option<u64>,
        now: Millis,
    ) -> Result<(&Connection, karez_net::Request), Fault> {
        let reading = self.reading;
        let whole = match token {
            Token::Url(url) => Some(url.as_str()),
            _ => None,
        };
        let manner = Manner {
            accepts: match reading.on_errors {
                Some(_) => Some(graphql::ACCEPTS),
                None => Some(reading.decoder.accepts()).filter(|accepts| !accepts.is_empty()),
            },
            rules: reading.judge.client.clone(),
            tally: Arc::clone(self.tally),
        };
        let seen_by = context.record(token, size, now);
        if let Some(connection) = self.elsewhere
            && let Some(elsewhere) = reading.job.as_ref().and_then(|job| job.elsewhere.as_ref())
            && let Some(given) = reading.ask.given(&seen_by)?
            // The API's own addresses are none of these.
            && self.connection.url(&given).is_err()
            && let Some(request) = elsewhere.request(&given)
        {
            // What it is called there says nothing: it is a file.
            let Manner { rules, tally, .. } = manner;
            return Ok((connection, karez_net::Request { rules, tally: Some(tally), ..request }));
        }
        let puts = reading.puts(token, size);
        let request = reading.ask.made(self.connection, &seen_by, &puts, whole, &manner).await?;
        Ok((self.connection, karez_net::Request { reuse: self.reuse.clone(), ..request }))
    }

    /// An answer that is rows and nothing else is read while it comes, whatever its length.
    async fn begin(
        &self,
        connection: &Connection,
        request: karez_net::Request,
        to: &To,
        rows: Rows,
        now: Millis,
    ) -> Result<Fetched, NoPage> {
        let streamed = match connection.stream(request).await {
            Ok(streamed) => streamed,
            Err(failure) => return self.failed(&failure, now),
        };
        if is_bare(streamed.status) {
            return self.bare(streamed.status, &streamed.headers, to, now);
        }
        let nothing = envelope(Json::Null, now);
        let ruling = self.reading.judge.of_answer(streamed.status, &streamed.headers, &nothing);
        match ruling.map_err(|fault| to.told(&fault))? {
            Some(ruling) => ruled(ruling, to.answered(streamed.status)),
            None => Ok(Fetched::Long(Box::new(Long { streamed, rows, to: to.clone(), ended: false }))),
        }
    }

    /// An answer that says by its status that there is nothing, unless a rule says what it means here.
    fn bare(&self, status: StatusCode, headers: &HeaderMap, to: &To, now: Millis) -> Result<Fetched, NoPage> {
        let ruling = self.reading.judge.of_answer(status, headers, &envelope(Json::Null, now));
        match ruling.map_err(|fault| to.told(&fault))? {
            Some(ruling) => ruled(ruling, to.answered(status)),
            None => Ok(Fetched::Nothing),
        }
    }

    /// What an answer of a GraphQL server says beside its data: how many errors were taken for what they are worth.
    async fn said(&self, body: &Bytes, now: Millis) -> Result<u64, Fault> {
        let Some(on_errors) = self.reading.on_errors else { return Ok(0) };
        // Looked at before anything is missed in the data, and parsed for that only where there is something to see.
        if !["\"errors\"", "\"throttleStatus\""]
            .iter()
            .any(|word| memmem::find(body, word.as_bytes()).is_some())
        {
            return Ok(0);
        }
        let said = graphql::told(on_errors, &as_record(Body::from_bytes(Form::Json, body.clone()), now))?;
        if let Some(wait) = said.wait {
            self.tally.throttled_ms.fetch_add(wait.as_millis() as u64, Relaxed);
            self.clock.sleep(wait).await;
        }
        Ok(said.errors)
    }

    fn failed(&self, failure: &Failure, now: Millis) -> Result<Fetched, NoPage> {
        match self.reading.judge.of_failure(failure, now) {
            Some(ruling) => ruled(ruling, failure.fault.message().to_owned()),
            None => Err(failure.into()),
        }
    }

    /// The token of the page after this one.
    ///
    /// # Errors
    /// As [`super::page::Paging::next`].
    pub(super) fn next(&self, token: &Token, page: &Page) -> Result<Option<Token>, Fault> {
        let paging = &self.reading.paging;
        let last = page.records.last().filter(|_| paging.needs_last());
        let last = last.map(|last| as_record(last.clone(), self.clock.now()));
        let seen = Seen {
            envelope: &page.envelope,
            headers: &page.headers,
            url: &page.url,
            records: page.records.len() as u64,
            last: last.as_ref(),
        };
        let next = paging.next(token, &seen)?;
        Ok(next.map(|token| match token {
            Token::Url(url) => Token::Url(bare(&url, self.own_parameters)),
            other => other,
        }))
    }
}

/// No content; or nothing new, for who asked for that by a header of its own.
fn is_bare(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn ruled(ruling: Ruling, why: String) -> Result<Fetched, NoPage> {
    match ruling {
        Ruling::Nothing => Ok(Fetched::Nothing),
        Ruling::Skip => Ok(Fetched::Skip(why)),
        Ruling::Fail => Err(Fault::service(format!("{why}, which a rule of the file calls a failure"))
            .with_code("rule")
            .into()),
    }
}
