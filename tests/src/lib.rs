//! What the integration tests of the whole need: servers in the tests' own process.

pub mod s3;
