//! `analyticsd`: records visitors' events over HTTP and counts them exactly for every hour. See `analyticsd --help`.

use std::{
    fs,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use analyticsd::{
    access::NobodyMayListen,
    config::{Config, Invocation, LogConfig, LogFormat, Settings, ShowFormat, Task, command},
    healthcheck,
};
use db::schema::SchemaError;

/// A wrong command line, or other wrong settings.
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let Invocation { task, settings } = Invocation::read();
    match task {
        Task::Serve => match settings.config() {
            Ok(config) => serve(config, &settings.warnings()),
            Err(faults) => refuse(&faults),
        },
        Task::ShowConfig(format) => show_config(&settings, format),
        Task::Healthcheck => match settings.listen().map(healthcheck::check) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(unhealthy)) => {
                eprintln!("error: {unhealthy}");
                ExitCode::FAILURE
            }
            Err(faults) => refuse(&faults),
        },
        Task::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "analyticsd", &mut script);
            let _ = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        Task::Man(dir) => match fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(command(), &dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot write to {}: {error}; give a folder that can be written to", dir.display());
                ExitCode::FAILURE
            }
        },
    }
}

fn serve(config: Config, warnings: &[String]) -> ExitCode {
    start_log(&config.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(config.worker_threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(analyticsd::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Errors of the database say their causes themselves; `describe` says none twice.
            eprintln!("error: {}", db::describe(error.as_ref()));
            // It takes another setting to start.
            let takes_another =
                error.is::<NobodyMayListen>() || matches!(error.downcast_ref(), Some(SchemaError::SharedSessions(_)));
            if takes_another { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

fn show_config(settings: &Settings, format: ShowFormat) -> ExitCode {
    // Whoever reads this may be gone.
    let _ = std::io::stdout().write_all(settings.show(format).as_bytes());
    for warning in settings.warnings() {
        eprintln!("warning: {warning}");
    }
    settings.config().map_or_else(|faults| refuse(&faults), |_| ExitCode::SUCCESS)
}

/// Says everything that is wrong with the settings.
fn refuse(faults: &[String]) -> ExitCode {
    for fault in faults {
        eprintln!("error: {fault}");
    }
    ExitCode::from(WRONG_SETTINGS)
}

fn start_log(log: &LogConfig) {
    let lines = tracing_subscriber::fmt().with_env_filter(log.filter()).with_writer(analyticsd::log_lines::stderr);
    match log.format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
    }
}
