// The registry of go-containerregistry on one loopback address, with the referrers API, which `crane registry serve` leaves
// off. Blobs are on the disk, manifests in memory. Built by `.ci/run`, beside the version of crane that it installs.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "", "where to listen: HOST:PORT")
	disk := flag.String("disk", "", "the folder of the blobs")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	handler := registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(*disk)),
		registry.WithReferrersSupport(true),
	)
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: handler}
	log.Fatal(server.Serve(listener))
}
