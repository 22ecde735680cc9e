"""Loss terms, one a file; a loss config lists weighted terms and `Loss` adds them up."""
