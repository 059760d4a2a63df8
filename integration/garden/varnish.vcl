vcl 4.1;

backend origin {
	.host = "127.0.0.1";
	.port = "@ORIGINPORT@";
}

sub vcl_recv {
	return (pass);
}

sub vcl_backend_fetch {
	return (fetch);
}
