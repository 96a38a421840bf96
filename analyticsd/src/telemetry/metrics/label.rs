//! Enums whose variants are the values of a label, each with its text. All labels come from these, so that no client
//! can create a series.

macro_rules! label {
    ($(#[$about:meta])* pub(crate) enum $name:ident { $($(#[$variant_about:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_about])* $variant,)+
        }

        impl $name {
            pub(in crate::telemetry::metrics) const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

pub(super) use label;
