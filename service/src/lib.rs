//! What both servers share.
