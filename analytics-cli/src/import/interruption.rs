use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The exit code of a program that a terminal interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C was pressed, or the service manager ends the program, or a part of it gave up. A second signal ends the
/// process at once.
#[derive(Clone)]
pub(crate) struct Interruption(watch::Sender<bool>);

impl Interruption {
    pub(crate) fn listen() -> Self {
        let sender = watch::Sender::new(false);
        let own = sender.clone();
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if own.send_replace(true) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
        Self(sender)
    }

    /// One that a part of the program raises.
    pub(crate) fn of_a_part() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn raise(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn happened(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn happens(&self) {
        // This holds the sender, so that the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|happened| *happened).await;
    }
}
