use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop, by SIGTERM (a service manager) or SIGINT (Ctrl-C).
pub(crate) fn stop_requested() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}
