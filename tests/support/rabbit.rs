//! A real RabbitMQ: a child process in a folder of its own, on ports of its own, one for all tests
//! of a process; it ends with that, however it ends.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use crate::found;

/// The script under /usr/lib: the one on the path changes user.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// Messages that are taken in one go.
pub const AT_ONCE: usize = 500;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Obeys orders on its standard input. That ends with the test process, however it ends, and with
/// it end the broker and its name server, by their ids.
const KEEPER: &str = r#"
epmd -port "$ERL_EPMD_PORT" >>"$HOME/out" 2>&1 & names=$!
while read -r order; do
    case $order in
        start) "$SERVER" >>"$HOME/out" 2>&1 & broker=$! ;;
        kill) "$CONTROL" --erlang-cookie karez -n "$RABBITMQ_NODENAME" eval 'mnesia:sync_log().' >>"$HOME/out" 2>&1
              kill -9 "$broker"; wait "$broker" ;;
        freeze) kill -STOP "$broker" ;;
        thaw) kill -CONT "$broker" ;;
    esac
    echo obeyed
done
kill -9 "$broker" "$names"
wait
rm -rf "$HOME"
"#;

static BROKER: OnceLock<RwLock<Broker>> = OnceLock::new();

/// The broker, shared with other tests.
///
/// # Panics
/// It does not start, or a test that stopped it failed.
pub fn shared() -> RwLockReadGuard<'static, Broker> {
    BROKER.get_or_init(|| RwLock::new(Broker::start())).read().unwrap()
}

/// The broker, for a test that stops it.
///
/// # Panics
/// As [`shared`].
pub fn alone() -> RwLockWriteGuard<'static, Broker> {
    BROKER.get_or_init(|| RwLock::new(Broker::start())).write().unwrap()
}

pub struct Broker {
    _keeper: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
    /// Where its name server answers.
    names: u16,
    home: PathBuf,
}

impl Broker {
    /// One that nobody shares.
    ///
    /// # Panics
    /// As [`shared`].
    #[must_use]
    pub fn start() -> Self {
        assert!(Path::new(SERVER).exists(), "{SERVER} is missing: install rabbitmq-server");
        let home = tempfile::Builder::new().prefix("karez-rabbit-").tempdir().unwrap().keep();
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
            .env("CONTROL", CONTROL)
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
            names,
            home,
        };
        broker.restart();
        broker
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "obeyed\n");
    }

    /// `kill -9`; it is gone when this returns. Just before, it writes down which queues there are, which it does
    /// late by itself: a durable queue that is seconds old would go with all messages that were confirmed in it.
    pub fn kill(&mut self) {
        self.order("kill");
    }

    /// It stands still, its connections open, until it is thawed.
    pub fn freeze(&mut self) {
        self.order("freeze");
    }

    pub fn thaw(&mut self) {
        self.order("thaw");
    }

    /// Starts it again on what it had written; returns once it answers.
    pub fn restart(&mut self) {
        self.order("start");
        drop(self.look());
    }

    /// Runs `rabbitmqctl`.
    ///
    /// # Panics
    /// It fails.
    pub fn control(&self, arguments: &[&str]) {
        let mut command = Command::new(SERVER.replace("rabbitmq-server", "rabbitmqctl"));
        command.args(["-n", &format!("karez{}@localhost", self.port), "--quiet"]).args(arguments);
        command.env("HOME", &self.home).env("ERL_EPMD_PORT", self.names.to_string());
        command.env("RABBITMQ_CTL_ERL_ARGS", "-setcookie karez");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// A test's own connection.
    #[must_use]
    pub fn look(&self) -> Look {
        found("the broker answers", || Look::at(&self.url()).ok())
    }
}

/// A test's own look at the broker.
pub struct Look {
    runtime: Runtime,
    _connection: Connection,
    channel: Channel,
}

impl Look {
    /// A connection to this address.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn at(url: &str) -> Result<Self, lapin::Error> {
        let runtime = Runtime::new().unwrap();
        let (connection, channel) = runtime.block_on(in_time(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok((connection, channel))
        }))?;
        Ok(Self { runtime, _connection: connection, channel })
    }

    /// Publishes persistently; whether the broker has taken it.
    ///
    /// # Errors
    /// It did not say.
    pub fn try_publish(&self, queue: &str, id: &str, body: &[u8]) -> Result<bool, lapin::Error> {
        self.runtime.block_on(in_time(async {
            let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let sent = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
            let confirm = sent.await?.await?;
            Ok(confirm.is_ack() && confirm.take_message().is_none())
        }))
    }

    /// Takes up to [`AT_ONCE`] messages out of a queue: their `message_id` and body. Acknowledged once all are here,
    /// so that one whose transfer is cut comes again.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn try_take(&self, queue: &str) -> Result<Vec<(String, Vec<u8>)>, lapin::Error> {
        self.runtime.block_on(in_time(async {
            let mut taken = Vec::new();
            let mut last = None;
            while taken.len() < AT_ONCE
                && let Some(message) =
                    self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await?
            {
                let id = message.properties.message_id().clone();
                last = Some(message.delivery.delivery_tag);
                taken.push((id.map(|id| id.to_string()).unwrap_or_default(), message.delivery.data));
            }
            if let Some(tag) = last {
                self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
            }
            Ok(taken)
        }))
    }

    /// Declares a durable queue.
    pub fn queue(&self, name: &str) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.queue_declare(name.into(), options, FieldTable::default());
        self.runtime.block_on(declared).unwrap();
    }

    pub fn delete(&self, queue: &str) {
        let deleted = self.channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        self.runtime.block_on(deleted).unwrap();
    }

    /// Publishes persistently, with `message_id`; the broker has confirmed each when this returns.
    pub fn publish<'a>(&self, queue: &str, messages: impl IntoIterator<Item = (&'a str, &'a Json)>) {
        self.runtime.block_on(async {
            let mut confirms = Vec::new();
            for (id, body) in messages {
                let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
                let options = BasicPublishOptions::default();
                let body = body.to_string();
                let sent =
                    self.channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties);
                confirms.push(sent.await.unwrap());
            }
            for confirm in confirms {
                assert!(confirm.await.unwrap().is_ack());
            }
        });
    }

    /// Messages of a queue that no consumer holds.
    #[must_use]
    pub fn ready(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        self.runtime.block_on(declared).unwrap().message_count()
    }

    /// Takes all messages out of a queue: their `message_id` and body.
    #[must_use]
    pub fn take(&self, queue: &str) -> Vec<(String, Json)> {
        self.runtime.block_on(async {
            let mut taken = Vec::new();
            let options = BasicGetOptions { no_ack: true };
            while let Some(message) = self.channel.basic_get(queue.into(), options).await.unwrap() {
                let id = message.properties.message_id().clone();
                let id = id.map(|id| id.to_string()).unwrap_or_default();
                taken.push((id, serde_json::from_slice(&message.data).unwrap()));
            }
            taken
        })
    }
}

/// A broker that stands still answers nothing.
async fn in_time<T>(asked: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, lapin::Error> {
    let late = || lapin::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|_| late())?
}

fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
