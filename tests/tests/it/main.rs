//! Integration tests of the whole.

mod store_processes;
mod store_protection;
mod store_s3;
mod store_versitygw;
