package pods

import "strings"

// processImage is the image name whose containers run as a real process.
const processImage = "grayscale"

// splitImage gives the last path element of an image reference and its tag; a digest is dropped.
func splitImage(image string) (name, tag string) {
	image, _, _ = strings.Cut(image, "@")
	name = image[strings.LastIndex(image, "/")+1:]
	name, tag, _ = strings.Cut(name, ":")
	return name, tag
}

// isProcess says whether a container of this image runs as a real process.
func isProcess(image string) bool {
	name, _ := splitImage(image)
	return name == processImage
}

// isMissing says whether the image stands for one that no registry has.
func isMissing(image string) bool {
	_, tag := splitImage(image)
	return strings.HasPrefix(image, "lab/missing") || tag == "bad-image" || tag == "does-not-exist"
}
