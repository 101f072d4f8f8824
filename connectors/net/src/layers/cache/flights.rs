//! Questions that are on their way: who asks the same meanwhile waits for their answer, and judges it for itself.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::layers::lock;
use crate::{Failure, Response};

#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Told>>);

type Told = watch::Receiver<Option<Response>>;

/// Whose turn it is.
pub(super) enum Turn<'f> {
    First(Lead<'f>),
    After(Flight),
}

/// Asks, and tells the others. Where it goes without a word, somebody else asks.
pub(super) struct Lead<'f> {
    flights: &'f Flights,
    key: String,
    tell: watch::Sender<Option<Response>>,
}

pub(super) struct Flight(Told);

impl Flights {
    pub(super) fn turn(&self, key: &str) -> Turn<'_> {
        let mut flights = lock(&self.0);
        if let Some(told) = flights.get(key) {
            return Turn::After(Flight(told.clone()));
        }
        let (tell, told) = watch::channel(None);
        flights.insert(key.to_owned(), told);
        Turn::First(Lead { flights: self, key: key.to_owned(), tell })
    }
}

impl Lead<'_> {
    /// What is no answer of the far end says nothing to others: they have more time, perhaps.
    pub(super) fn tell(&self, outcome: &Result<Response, Failure>) {
        let answer = outcome.as_ref().map_or_else(|failure| failure.response.as_deref(), Some);
        // One receiver is the list's own.
        if let Some(answer) = answer.filter(|_| self.tell.receiver_count() > 1) {
            self.tell.send_replace(Some(answer.clone()));
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.key);
    }
}

impl Flight {
    /// Nothing where whoever asked got no answer.
    pub(super) async fn told(&mut self) -> Option<Response> {
        let told = self.0.wait_for(Option::is_some).await.ok()?;
        told.clone().map(|answer| Response { cached: true, ..answer })
    }
}
