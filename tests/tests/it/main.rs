//! Integration tests of the whole.

mod store_s3;
