//! The coordinator inside a Kubernetes cluster: custom resources, which volumes there are and where, what is protected, and by what.
