// Package connect runs the conformance suite of the Connect project, for Connect,
// gRPC and gRPC-Web, through agentproxy.
package connect
