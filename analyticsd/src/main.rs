//! `analyticsd`: records visitors' events over HTTP and counts them exactly for every hour. See `analyticsd --help`.

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use analyticsd::{
    Output,
    config::{Config, Invocation, Settings, ShowFormat, Task, command},
    healthcheck,
};

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
                print_to_stderr(&format!("error: {unhealthy}"));
                ExitCode::FAILURE
            }
            Err(faults) => refuse(&faults),
        },
        Task::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "analyticsd", &mut script);
            let _ = io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        Task::Man(dir) => match fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(command(), &dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                print_to_stderr(&format!(
                    "error: cannot write to {}: {error}; give a folder that is writable",
                    dir.display()
                ));
                ExitCode::FAILURE
            }
        },
    }
}

fn serve(config: Config, warnings: &[String]) -> ExitCode {
    let output = match Output::start(&config.log) {
        Ok(output) => output,
        Err(error) => {
            print_to_stderr(&format!("error: the log cannot be written: {error}"));
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(config.worker_threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            output.print_error(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(analyticsd::run(config, &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Errors of the database contain their causes; `describe` prints none of them twice.
            output.print_error(&db::describe(error.as_ref()));
            if analyticsd::is_of_settings(&error) { ExitCode::from(WRONG_SETTINGS) } else { ExitCode::FAILURE }
        }
    }
}

fn show_config(settings: &Settings, format: ShowFormat) -> ExitCode {
    // A closed pipe is no error.
    let _ = io::stdout().write_all(settings.show(format).as_bytes());
    for warning in settings.warnings() {
        print_to_stderr(&format!("warning: {warning}"));
    }
    settings.config().map_or_else(|faults| refuse(&faults), |_| ExitCode::SUCCESS)
}

/// Prints everything that is wrong with the settings.
fn refuse(faults: &[String]) -> ExitCode {
    for fault in faults {
        print_to_stderr(&format!("error: {fault}"));
    }
    ExitCode::from(WRONG_SETTINGS)
}

/// Prints a line on standard error. A closed pipe is no error.
fn print_to_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
