//! Random names of 16 bytes that are shown as hex.

/// A name with `new`, hex for people, and an error that says what was expected (`$what`).
macro_rules! random_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new random one.
            #[must_use]
            pub fn new(env: &repository::env::Env) -> Self {
                Self(env.random())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&repository::ids::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = repository::Error;
            fn from_str(text: &str) -> repository::Result<Self> {
                repository::ids::parse_hex(text).map(Self).ok_or_else(|| {
                    let what = format!("{text:?} is not a {} id (32 hex digits)", $what);
                    repository::Error::new(repository::ErrorKind::Input, what)
                })
            }
        }
    };
}
pub(crate) use random_name;
