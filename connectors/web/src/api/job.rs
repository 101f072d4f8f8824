//! A report that is made there: ordered, asked after until it is ready, called off where it takes too long. How far it
//! is is saved, so that a restart asks after it rather than ordering another.

use karez_api::{Body, Fault, Json, Millis, Record, parse_json};
use karez_net::Connection;
use tracing::warn;

use super::ask::{Ask, Context, Manner};
use super::fetch::{Fetch, NoPage};
use super::live::Stop;
use super::part::Part;
use super::state::{JobState, Mark, Open, RunState, Token};
use super::stream::Job;
use crate::http::as_record;

/// What has become of a report.
enum Watched {
    Ready(JobState),
    Failed,
    Late,
}

/// How often it is ordered before that is given up.
const ORDERS: u32 = 3;

impl Job {
    /// Returns once the report is ready.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) async fn made(
        &self,
        part: &Part<'_>,
        fetch: &Fetch<'_>,
        open: &mut Open,
        run: &RunState,
        mark: Option<&Mark>,
    ) -> Result<(), Stop> {
        loop {
            let job = match open.job.take() {
                Some(job) => job,
                None => self.order(part, fetch, open, 1).await?,
            };
            let orders = job.orders;
            open.job = Some(job.clone());
            part.note(open, mark, run).await?;
            let fault = match self.watch(part, fetch, open, job).await? {
                Watched::Ready(job) => {
                    open.job = Some(job);
                    return part.note(open, mark, run).await;
                }
                Watched::Late => {
                    let message =
                        format!("{}: the report is not ready within {:?}", part.lane.0, self.timeout);
                    Fault::service(message).with_code("job_timeout")
                }
                Watched::Failed if orders < ORDERS => {
                    part.tracker.anomaly("job_failed", "the report failed and is ordered anew".into());
                    open.job = None;
                    open.job = Some(self.order(part, fetch, open, orders + 1).await?);
                    continue;
                }
                Watched::Failed => {
                    let message = format!("{}: the report failed {orders} times", part.lane.0);
                    Fault::service(message).with_code("job_failed")
                }
            };
            // Another try orders another.
            open.job = None;
            part.note(open, mark, run).await?;
            return Err(fault.into());
        }
    }

    async fn order(
        &self,
        part: &Part<'_>,
        fetch: &Fetch<'_>,
        open: &Open,
        orders: u32,
    ) -> Result<JobState, Fault> {
        let answer = call(&self.create, fetch, &part.context(open)).await.map_err(|none| none.fault)?;
        Ok(JobState { answer, since: fetch.clock.now(), ready: false, orders })
    }

    /// Asks after the report until something has become of it.
    async fn watch(
        &self,
        part: &Part<'_>,
        fetch: &Fetch<'_>,
        open: &Open,
        mut job: JobState,
    ) -> Result<Watched, Fault> {
        loop {
            let answer = record(&job.answer, fetch.clock.now());
            if self.done.eval(&answer)? {
                job.ready = true;
                return Ok(Watched::Ready(job));
            }
            if self.failed.as_ref().map_or(Ok(false), |failed| failed.eval(&answer))? {
                return Ok(Watched::Failed);
            }
            let age = fetch.clock.now().0.saturating_sub(job.since.0);
            if u128::from(age) > self.timeout.as_millis() {
                self.call_off(part, fetch, open, &job).await;
                return Ok(Watched::Late);
            }
            fetch.clock.sleep(self.every).await;
            let known = Open { job: Some(job.clone()), ..open.clone() };
            match call(&self.poll, fetch, &part.context(&known)).await {
                Ok(answer) => job.answer = merged(job.answer, answer),
                // It is forgotten there: as good as failed.
                Err(none) if none.is_unknown() => return Ok(Watched::Failed),
                Err(none) => return Err(none.fault),
            }
        }
    }

    async fn call_off(&self, part: &Part<'_>, fetch: &Fetch<'_>, open: &Open, job: &JobState) {
        let Some(abort) = &self.abort else { return };
        let known = Open { job: Some(job.clone()), ..open.clone() };
        if let Err(NoPage { fault, .. }) = call(abort, fetch, &part.context(&known)).await {
            warn!(stream = %part.lane.0, %fault, "a report that took too long could not be called off");
        }
    }
}

/// What was known stays known where the new answer does not say.
fn merged(old: Json, new: Json) -> Json {
    match (old, new) {
        (Json::Object(mut old), Json::Object(new)) => {
            old.extend(new);
            Json::Object(old)
        }
        (_, new) => new,
    }
}

fn record(answer: &Json, now: Millis) -> Record {
    as_record(Body::from_tree(answer.clone()), now)
}

async fn call(ask: &Ask, fetch: &Fetch<'_>, context: &Context) -> Result<Json, NoPage> {
    let manner = Manner {
        accepts: None,
        rules: fetch.reading.judge.client.clone(),
        tally: std::sync::Arc::clone(fetch.tally),
    };
    let connection: &Connection = fetch.connection;
    let seen_by = context.record(&Token::First, None, fetch.clock.now());
    let request = ask.made(connection, &seen_by, &[], None, &manner).await?;
    let answer = connection.call(request).await.map_err(|failure| NoPage::from(&failure))?;
    if answer.body.is_empty() {
        return Ok(Json::Object(karez_api::JsonMap::new()));
    }
    parse_json(&answer.body).map_err(|error| {
        let message = format!("the answer about the report is not JSON: {error}");
        Fault::service(message).with_code("bad_answer").into()
    })
}
