//! Notifies a service manager such as systemd that the daemon serves, is alive, or stops. Without one (without
//! `NOTIFY_SOCKET` in the environment) this does nothing.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::process::own_address;

/// How many checks fit into the watchdog's time. The service manager acts only when as many in a row have failed.
const LOOKS: u32 = 4;

/// The daemon does not serve yet, for this reason.
pub(crate) fn waits(reason: &str) {
    notify(&[NotifyState::Status(reason)]);
}

/// The daemon serves at this address.
pub(crate) fn serves(address: SocketAddr) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("serving http://{address}"))]);
}

/// The daemon serves at this address, with a restriction.
pub(crate) fn serves_with(address: SocketAddr, restriction: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("serving http://{address}; {restriction}"))]);
}

/// The daemon accepts no more requests.
fn stops() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: answering the accepted requests")]);
}

fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "could not notify the service manager");
    }
}

/// Notifies the service manager that the daemon is alive, as often as it expects that, for as long as it is true. Ends
/// when it is dropped.
pub(crate) struct Watchdog {
    patience: Option<Duration>,
    task: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Checks a daemon that serves at `address`.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let patience = sd_notify::watchdog_enabled();
        let task = patience.map(|patience| tokio::spawn(ping_while_alive(patience, own_address::reaching(address))));
        Self { patience, task }
    }

    /// Notifies the service manager that the daemon stops. From now on only the runtime is checked: the listener
    /// closes, and the time for stopping is limited elsewhere.
    pub(crate) fn stopping(&mut self) {
        stops();
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.task = self.patience.map(|patience| tokio::spawn(ping(patience)));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The check does not need the database. The database may hang for long; a restart of the daemon would not mend it, and
/// would lose the waiting requests.
async fn ping_while_alive(patience: Duration, address: SocketAddr) {
    let mut looks = interval(patience / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deadline = looks.tick().await + patience / LOOKS;
        if answers(deadline, address).await {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!(
                "the daemon does not answer its own request, so it does not report to the service manager that it is \
                 alive"
            );
        }
    }
}

async fn ping(patience: Duration) {
    let mut looks = interval(patience / LOOKS);
    loop {
        looks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Any HTTP answer is a sign of life. A connection that is closed without an answer, as in a flood of connections, is
/// one too: the system accepts connections by itself, but only a live process closes them. A lack of file descriptors
/// is no failure either.
async fn answers(deadline: Instant, address: SocketAddr) -> bool {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const BEGINNING: &[u8] = b"HTTP/1.";
    let ask = async {
        let mut connection = match TcpStream::connect(address).await {
            Ok(connection) => connection,
            Err(error) => return is_want_of_files(&error),
        };
        // The answer shows whether it was received.
        let _ = connection.write_all(REQUEST).await;
        let mut answer = Vec::new();
        match connection.take(BEGINNING.len() as u64).read_to_end(&mut answer).await {
            Ok(_) => answer.is_empty() || answer == BEGINNING,
            // The daemon closed it before it read the request.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    };
    timeout_at(deadline, ask).await.unwrap_or(false)
}

/// EMFILE and ENFILE, for which the standard library has no `ErrorKind`.
fn is_want_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};

    use super::answers;

    #[tokio::test]
    async fn an_answer_in_http_and_a_closed_connection_are_signs_of_life_and_nothing_else_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The system takes the connection, and no process accepts it.
        assert!(!answers(Instant::now() + Duration::from_millis(50), address).await);
        let _never_accepted = listener.accept().await.unwrap();

        let patience = Duration::from_mins(1);
        for (answer, is_alive) in
            [("HTTP/1.1 503 Service Unavailable\r\n\r\n", true), ("SSH-2.0-else\r\n", false), ("", true)]
        {
            let (alive, ()) = tokio::join!(answers(Instant::now() + patience, address), async {
                let (mut connection, _) = listener.accept().await.unwrap();
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            });
            assert_eq!(alive, is_alive, "{answer}");
        }
        drop(listener);
        assert!(!answers(Instant::now() + patience, address).await);
    }
}
