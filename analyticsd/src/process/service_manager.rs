//! What a service manager such as systemd is told of the daemon: that it serves, that it is alive, that it stops. Without one, which is without
//! `NOTIFY_SOCKET` in the environment, nothing is told and nothing looked at.

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

/// How many looks fit into the time that the service manager waits. It loses patience only when as many in a row have failed.
const LOOKS: u32 = 4;

/// It does not serve yet, for this reason.
pub(crate) fn waits(reason: &str) {
    tell(&[NotifyState::Status(reason)]);
}

/// It serves, at this address.
pub(crate) fn serves(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving http://{address}"))]);
}

/// It serves, and what of it is not as it should be.
pub(crate) fn serves_with(address: SocketAddr, reservation: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving http://{address}; {reservation}"))]);
}

/// It accepts nothing more.
fn stops() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: answering what was accepted")]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Tells the service manager that the daemon is alive, as often as it wants to hear it, for as long as that is true. Ends when it is dropped.
pub(crate) struct Watchdog {
    patience: Option<Duration>,
    task: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Looks at a daemon that serves at `address`.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let patience = sd_notify::watchdog_enabled();
        let task = patience.map(|patience| tokio::spawn(ping_while_alive(patience, own_address::reaching(address))));
        Self { patience, task }
    }

    /// From now on only the runtime is looked at: what was looked at before ends, and the time for that is limited elsewhere. Tells the service
    /// manager that the daemon stops.
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

/// Asks nothing that would have to ask the database, which may hang for as long as it likes: a restart would not mend it, and would lose what waits.
async fn ping_while_alive(patience: Duration, address: SocketAddr) {
    let mut looks = interval(patience / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let deadline = looks.tick().await + patience / LOOKS;
        if answers(deadline, address).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!(
                "the daemon does not answer its own request, so it does not report to the service manager that it is alive"
            );
        }
    }
}

async fn ping(patience: Duration) {
    let mut looks = interval(patience / LOOKS);
    loop {
        looks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Any answer in HTTP will do, and so will a connection that is closed without one, as in a flood of them: the system takes connections by itself, but only a
/// process that lives ends them. That no file can be opened for one is no sign of death either, and this task goes on.
async fn answers(deadline: Instant, address: SocketAddr) -> bool {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const BEGINNING: &[u8] = b"HTTP/1.";
    let ask = async {
        let mut connection = match TcpStream::connect(address).await {
            Ok(connection) => connection,
            Err(error) => return is_want_of_files(&error),
        };
        // Whether it was taken is seen by what comes back.
        let _ = connection.write_all(REQUEST).await;
        let mut answer = Vec::new();
        match connection.take(BEGINNING.len() as u64).read_to_end(&mut answer).await {
            Ok(_) => answer.is_empty() || answer == BEGINNING,
            // It was closed before the request was read.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    };
    timeout_at(deadline, ask).await.unwrap_or(false)
}

/// EMFILE and ENFILE, of which the standard library makes no kind of their own.
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
        // The system takes the connection, and nobody accepts it.
        assert!(!answers(Instant::now() + Duration::from_millis(50), address).await);
        let _never_accepted = listener.accept().await.unwrap();

        let patience = Duration::from_mins(1);
        for (said, is_alive) in
            [("HTTP/1.1 503 Service Unavailable\r\n\r\n", true), ("SSH-2.0-else\r\n", false), ("", true)]
        {
            let (alive, ()) = tokio::join!(answers(Instant::now() + patience, address), async {
                let (mut connection, _) = listener.accept().await.unwrap();
                connection.write_all(said.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            });
            assert_eq!(alive, is_alive, "{said}");
        }
        drop(listener);
        assert!(!answers(Instant::now() + patience, address).await);
    }
}
