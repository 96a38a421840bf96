use tokio::{signal, sync::watch};

/// The exit code of a program that a terminal interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Whether somebody pressed Ctrl-C. Who does so twice is not kept waiting.
#[derive(Clone)]
pub(crate) struct Interruption(watch::Receiver<bool>);

impl Interruption {
    /// Listens from here on.
    pub(crate) fn listen() -> Self {
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            // Where the system has no such signal, nobody is ever interrupted.
            if signal::ctrl_c().await.is_ok() {
                tell.send_replace(true);
                if signal::ctrl_c().await.is_ok() {
                    std::process::exit(INTERRUPTED);
                }
            }
            tell.closed().await;
        });
        Self(told)
    }

    /// Whether it happened.
    pub(crate) fn happened(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it happens.
    pub(crate) async fn happens(&self) {
        // The sender lives for as long as anybody listens.
        let _ = self.0.clone().wait_for(|happened| *happened).await;
    }
}
