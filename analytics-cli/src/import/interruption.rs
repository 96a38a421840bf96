use tokio::{signal, sync::watch};

/// The exit code of a program that a terminal interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C was pressed. A second Ctrl-C ends the process at once.
#[derive(Clone)]
pub(crate) struct Interruption(watch::Receiver<bool>);

impl Interruption {
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            if signal::ctrl_c().await.is_ok() {
                sender.send_replace(true);
                if signal::ctrl_c().await.is_ok() {
                    std::process::exit(INTERRUPTED);
                }
            }
            sender.closed().await;
        });
        Self(receiver)
    }

    pub(crate) fn happened(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn happens(&self) {
        // The sender lives as long as its receivers.
        let _ = self.0.clone().wait_for(|happened| *happened).await;
    }
}
