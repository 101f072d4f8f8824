//! One delivery at a sink: opened if it is not, bounded in time, written down where a restart must not repeat it.

use std::sync::Arc;
use std::time::Duration;

use karez_api::{
    Clock, Delivery, Events, Fault, Outcome, Record, Shape, Shared, Sink, SinkContext, SinkName, SinkNode,
    StoreError,
};
use tokio::sync::Mutex;

use crate::Services;
use crate::tasks::TaskGroup;

/// The wait before a full store is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// A sink with everything that its deliveries need.
pub(crate) struct SinkDriver {
    pub(crate) node: SinkNode,
    pub(crate) name: SinkName,
    events: Arc<dyn Events>,
    clock: Arc<dyn Clock>,
    shared: Shared,
    tasks: TaskGroup,
    sink: Mutex<Option<Arc<dyn Sink>>>,
}

impl SinkDriver {
    pub(crate) fn new(node: SinkNode, name: SinkName, services: &Services, tasks: TaskGroup) -> Self {
        let (events, clock) = (Arc::clone(&services.events), Arc::clone(&services.clock));
        Self { node, name, events, clock, shared: services.shared.clone(), tasks, sink: Mutex::new(None) }
    }

    /// Deliveries at once; marks of one sink must not overtake each other.
    pub(crate) fn concurrency(&self) -> usize {
        if self.node.plan.keeps_ledger() { 1 } else { self.node.concurrency.max(1) }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.node.plan.shape(self.node.batch.is_some())
    }

    /// Opens the sink if it is not open.
    ///
    /// # Errors
    /// What the sink said; validation and fatal are the file's fault, the rest may pass.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Sink>, Fault> {
        let mut slot = self.sink.lock().await;
        if let Some(sink) = &*slot {
            return Ok(Arc::clone(sink));
        }
        let (_, mark) = self.events.ledger(&self.name);
        let cx = SinkContext {
            pipeline: Arc::clone(&self.name.pipeline),
            sink: Arc::clone(&self.name.sink),
            mark,
            batched: self.node.batch.is_some(),
            clock: Arc::clone(&self.clock),
            tasks: Arc::new(self.tasks.clone()),
            shared: self.shared.clone(),
        };
        let fresh = cx.mark.is_none();
        let opened = tokio::time::timeout(self.node.timeout, self.node.plan.open(cx)).await;
        let slow = || Fault::connection(format_args!("not open within {:?}", self.node.timeout));
        let sink: Arc<dyn Sink> = opened.map_err(|_| slow())??.into();
        if fresh && self.node.plan.keeps_ledger() {
            self.mark_beginning(&*sink).await?;
        }
        *slot = Some(Arc::clone(&sink));
        Ok(sink)
    }

    /// The same sink under a new plan: it goes on open.
    pub(crate) async fn take_over(&self, old: &Self) {
        *self.sink.lock().await = old.sink.lock().await.take();
    }

    /// Without a first mark, a crash in the very first delivery could not be cut off again.
    async fn mark_beginning(&self, sink: &dyn Sink) -> Result<(), Fault> {
        let mark = sink.deliver(&[]).await.mark;
        let noted = self.events.delivered(&self.name, Vec::new(), mark).await;
        noted.map_err(|error| Fault::service(error).with_code("store"))
    }

    /// Delivers records and says what became of each. `ledger` holds the hash of those to be written down.
    ///
    /// # Errors
    /// The store failed: nothing is known of what was delivered.
    pub(crate) async fn attempt(
        &self,
        records: &[Record],
        ledger: &[Option<u128>],
    ) -> Result<Vec<Outcome>, StoreError> {
        let sink = match self.open().await {
            Ok(sink) => sink,
            // What the file is to blame for was told when it was loaded; the records are not.
            Err(fault) => {
                let fault = match fault.class().is_transient() {
                    true => fault,
                    false => Fault::service(fault.message()).with_code(fault.code().to_owned()),
                };
                return Ok(vec![Outcome::NotSent(fault); records.len()]);
            }
        };
        fail::fail_point!("crash::before_deliver");
        let delivery = match tokio::time::timeout(self.node.timeout, sink.deliver(records)).await {
            Ok(delivery) => delivery,
            Err(_) => {
                let fault = Fault::connection(format_args!("no answer within {:?}", self.node.timeout));
                Delivery::all(records, &Outcome::Unknown(fault.with_code("timeout")))
            }
        };
        fail::fail_point!("crash::after_deliver");
        self.write_down(&delivery, ledger).await?;
        fail::fail_point!("crash::after_mark");
        Ok(complete(delivery.each, records.len()))
    }

    /// What is confirmed and must not be repeated is durable before anybody learns of it.
    async fn write_down(&self, delivery: &Delivery, ledger: &[Option<u128>]) -> Result<(), StoreError> {
        let confirmed: Vec<u128> = delivery
            .each
            .iter()
            .zip(ledger)
            .filter(|(outcome, _)| matches!(outcome, Outcome::Done))
            .filter_map(|(_, hash)| *hash)
            .collect();
        if confirmed.is_empty() {
            return Ok(());
        }
        while let Err(error) =
            self.events.delivered(&self.name, confirmed.clone(), delivery.mark.clone()).await
        {
            if !matches!(error, StoreError::Full(_)) {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// After the last delivery.
    pub(crate) async fn close(&self) {
        let Some(sink) = self.sink.lock().await.take() else {
            return;
        };
        match tokio::time::timeout(Duration::from_secs(5), sink.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(sink = %self.name, %error, "sink did not close cleanly")
            }
            Err(_) => tracing::warn!(sink = %self.name, "sink did not close in time"),
        }
    }
}

/// A sink that says nothing of a record may have delivered it.
fn complete(mut each: Vec<Outcome>, n: usize) -> Vec<Outcome> {
    each.resize_with(n, || Outcome::Unknown(Fault::service("the sink said nothing of this record")));
    each
}
