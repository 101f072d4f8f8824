//! The broker: a child process in a folder of its own, on ports of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The script under /usr/lib: the one on the path changes user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const START_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Obeys orders on its standard input. That ends with the test process, however it ends, and with
/// it end the broker and its name server, by their ids.
const KEEPER: &str = r#"
exec 2>>"$HOME/out"
epmd -port "$ERL_EPMD_PORT" >&2 & names=$!
while read -r order; do
    case $order in
        start) "$SERVER" >&2 & broker=$! ;;
        kill) kill -9 "$broker"; wait "$broker" ;;
    esac
    echo obeyed
done
kill -9 "$broker" "$names"
wait
rm -rf "$HOME"
"#;

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
    let start = || async { RwLock::new(Broker::start().await) };
    BROKER.get_or_init(start).await
}

pub(crate) struct Broker {
    _keeper: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Broker {
    async fn start() -> Self {
        assert!(Path::new(SERVER).exists(), "{SERVER} is missing: install rabbitmq-server");
        let home = tempfile::tempdir().unwrap().keep();
        std::fs::write(home.join("plugins"), "[].").unwrap();
        let [port, distribution, names] = free_ports();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            // What interrupts the test does not reach it before it has tidied up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("HOME", &home)
            .env("SERVER", SERVER)
            // The script becomes the broker, under its own process id.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env("RABBITMQ_NODENAME", format!("karez{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", home.join("none"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-setcookie karez")
            .env("ERL_EPMD_PORT", names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .spawn()
            .unwrap();
        let mut broker = Self {
            orders: keeper.stdin.take().unwrap(),
            answers: BufReader::new(keeper.stdout.take().unwrap()),
            _keeper: keeper,
            port,
        };
        broker.order("start");
        broker.answers().await;
        broker
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "obeyed\n");
    }

    async fn answers(&self) {
        let connected = async {
            while let Err(error) = self.connect().await {
                drop(error);
                tokio::time::sleep(POLL).await;
            }
        };
        let within = tokio::time::timeout(START_WITHIN, connected).await;
        within.expect("the broker does not answer");
    }

    async fn connect(&self) -> lapin::Result<Connection> {
        Connection::connect(&self.url(), ConnectionProperties::default()).await
    }

    /// `kill -9`; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.order("kill");
    }

    /// Starts it again on what it had written.
    pub(crate) async fn restart(&mut self) {
        self.order("start");
        self.answers().await;
    }

    pub(crate) fn url(&self) -> String {
        self.url_with("guest")
    }

    pub(crate) fn url_with(&self, password: &str) -> String {
        format!("amqp://guest:{password}@127.0.0.1:{}/%2f", self.port)
    }

    /// A channel for a test's own look at the broker.
    pub(crate) async fn look(&self) -> Look {
        let connection = self.connect().await.unwrap();
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

fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
