// Command docs writes the reference pages that are made from the code: docs/annotations.md, from the table of keys, and
// docs/metrics.md, from the metrics themselves.
//
// Run it from the root of the repository:
//
//	go run ./hack/docs          # write the pages
//	go run ./hack/docs -check   # exit with 1 if a page is out of date
package main

import "grayscale.dev/grayscale/hack/generated"

const again = "go run ./hack/docs"

var (
	annotationsPage = generated.File{Path: "docs/annotations.md", Again: again, Make: page,
		Source: "the table of keys in routing/intent/keys.go says"}
	metricsPage = generated.File{Path: "docs/metrics.md", Again: again, Make: metrics,
		Source: "the metrics of annotator and webhook say"}
)

func main() { generated.Main(annotationsPage, metricsPage) }
