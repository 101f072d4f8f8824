//! The broker that all tests of the repository start, in the form that asynchronous tests need.

use karez_tests::rabbit;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

static BROKER: OnceCell<RwLock<Broker>> = OnceCell::const_new();

/// The broker, shared with other tests.
pub(crate) async fn shared() -> RwLockReadGuard<'static, Broker> {
    broker().await.read().await
}

/// The broker, for a test that stops it.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, Broker> {
    broker().await.write().await
}

async fn broker() -> &'static RwLock<Broker> {
    let start = || async { RwLock::new(Broker(apart(rabbit::Broker::start))) };
    BROKER.get_or_init(start).await
}

/// What waits on a runtime of its own cannot do so inside of a test's.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap()
}

pub(crate) struct Broker(rabbit::Broker);

impl Broker {
    /// `kill -9`; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again on what it had written.
    pub(crate) fn restart(&mut self) {
        apart(|| self.0.restart());
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    pub(crate) fn url_with(&self, password: &str) -> String {
        self.url().replacen("guest:guest", &format!("guest:{password}"), 1)
    }

    /// A channel for a test's own look at the broker.
    pub(crate) async fn look(&self) -> Look {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Look { _connection: connection, channel }
    }
}

pub(crate) struct Look {
    _connection: Connection,
    channel: Channel,
}

impl Look {
    pub(crate) async fn queue(&self, name: &str) {
        self.declare(name, FieldTable::default()).await;
    }

    pub(crate) async fn quorum_queue(&self, name: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        self.declare(name, arguments).await;
    }

    async fn declare(&self, name: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        self.channel.queue_declare(name.into(), options, arguments).await.unwrap();
    }

    pub(crate) async fn exchange(&self, name: &str) {
        let declared = self.channel.exchange_declare(
            name.into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        );
        declared.await.unwrap();
    }

    pub(crate) async fn delete(&self, queue: &str) {
        let deleted = self.channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
    }

    /// Messages of a queue that no consumer holds.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        declared.await.unwrap().message_count()
    }
}
