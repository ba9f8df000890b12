package annotator

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const shop = "shop" // the namespace of these tests

var webService = types.NamespacedName{Namespace: shop, Name: "web"}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: shop, Name: name, UID: types.UID(name), ResourceVersion: "1"}
}
