//! Settings in layers: file, then environment, then flags; the later one wins. All three fill the same struct, so that a
//! setting has one name and one meaning.
//!
//! Merging never validates: a server validates the whole at the end and names everything that is wrong.

use std::fmt;
use std::path::Path;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {}", self.0.join("; "))
    }
}

impl std::error::Error for Invalid {}

/// Reads a YAML file into a layer. An unknown key is an error that names it and its line.
pub fn read_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Invalid> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| Invalid(vec![format!("read {name}: {e}")]))?;
    parse(&text).map_err(|e| Invalid(vec![format!("{name}: {e}")]))
}

/// Parses YAML into a layer.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|e| e.to_string())
}

/// Defines a layer of settings: a struct of options that a YAML file fills, that the environment fills
/// (`HOLDFAST_` and the field's name in capitals; `scalars` only), and that can be merged.
#[macro_export]
macro_rules! layer {
    (
        $(#[$doc:meta])* pub struct $name:ident {
            scalars { $($(#[$sdoc:meta])* $scalar:ident: $stype:ty,)* }
            lists { $($(#[$ldoc:meta])* $list:ident: $ltype:ty,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$sdoc])* pub $scalar: Option<$stype>,)*
            $($(#[$ldoc])* pub $list: Option<$ltype>,)*
        }

        impl $name {
            /// The names of all settings.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($scalar),)* $(stringify!($list),)*];

            /// What `over` sets wins.
            #[must_use]
            pub fn merge(self, over: Self) -> Self {
                Self {
                    $($scalar: over.$scalar.or(self.$scalar),)*
                    $($list: over.$list.or(self.$list),)*
                }
            }

            /// Reads `HOLDFAST_<NAME>` variables through `get`. An empty one counts as unset.
            pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, $crate::config::Invalid> {
                let mut out = Self::default();
                let mut wrong = Vec::new();
                $($crate::config::take(get, stringify!($scalar), &mut out.$scalar, &mut wrong);)*
                if wrong.is_empty() { Ok(out) } else { Err($crate::config::Invalid(wrong)) }
            }

            /// File (if any), then environment, then flags.
            pub fn load(
                file: Option<&std::path::Path>,
                get: &dyn Fn(&str) -> Option<String>,
                flags: Self,
            ) -> Result<Self, $crate::config::Invalid> {
                let file: Self = file.map($crate::config::read_file).transpose()?.unwrap_or_default();
                Ok(file.merge(Self::from_env(get)?).merge(flags))
            }
        }
    };
}

/// Parses one variable; used by [`layer!`](crate::layer).
pub fn take<T: std::str::FromStr>(
    get: &dyn Fn(&str) -> Option<String>,
    field: &str,
    out: &mut Option<T>,
    wrong: &mut Vec<String>,
) where
    T::Err: fmt::Display,
{
    let name = format!("HOLDFAST_{}", field.to_uppercase());
    let Some(text) = get(&name).filter(|t| !t.is_empty()) else { return };
    match text.parse() {
        Ok(value) => *out = Some(value),
        Err(e) => wrong.push(format!("{name}={text}: {e}")),
    }
}

#[cfg(test)]
mod tests;
