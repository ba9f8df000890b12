package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// complete writes the licences into the SBOM, because cyclonedx-gomod mistakes BSD-3-Clause for similar licences.
// The SBOM has the time of the sources, not of the clock, so that the same sources give the same SBOM.
func complete(modules []module, path string) error {
	raw, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }() // only reads
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(raw, cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if bom.Metadata == nil || bom.Components == nil {
		return errors.New(path + " has no components")
	}
	if bom.Metadata.Timestamp, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	anyTool(bom.Metadata.Tools)
	byPath := map[string]module{}
	for _, m := range modules {
		byPath[m.Path] = m
	}
	bom.Metadata.Component.Licenses = named(byPath[bom.Metadata.Component.Name])
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		m, known := byPath[c.Name]
		if !known {
			return fmt.Errorf("%s has component %s, of which nothing is linked", path, c.Name)
		}
		c.Licenses = named(m)
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		_ = out.Close() // the first error is returned
		return err
	}
	return out.Close()
}

// anyTool removes the digests of the tool's own binary, which differ from machine to machine.
func anyTool(tools *cdx.ToolsChoice) {
	if tools == nil || tools.Tools == nil {
		return
	}
	for i := range *tools.Tools {
		(*tools.Tools)[i].Hashes = nil
	}
}

func named(m module) *cdx.Licenses {
	var out cdx.Licenses
	for _, id := range m.licenses {
		out = append(out, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	return &out
}

// sourceDate is https://reproducible-builds.org/specs/source-date-epoch/ in the SBOM's format, empty if not given.
func sourceDate(epoch string) (string, error) {
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339), nil
}
