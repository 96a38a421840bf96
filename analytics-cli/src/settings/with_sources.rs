use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id, parser::ValueSource};

/// Flags, and which of them have their value from the environment.
#[derive(Debug)]
pub(crate) struct WithSources<A> {
    pub(crate) args: A,
    from_environment: Vec<Id>,
}

impl<A> WithSources<A> {
    /// `name` is that of the field.
    pub(crate) fn is_from_environment(&self, name: &str) -> bool {
        self.from_environment.iter().any(|id| id == name)
    }
}

impl<A: Args> FromArgMatches for WithSources<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        let flags = A::augment_args(Command::new(""));
        let ids = flags.get_arguments().map(|flag| flag.get_id().clone());
        let from_environment = ids.filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::EnvVariable));
        let from_environment = from_environment.collect();
        Ok(Self { args: A::from_arg_matches_mut(matches)?, from_environment })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Args> Args for WithSources<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}
