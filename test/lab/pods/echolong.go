package pods

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods of the echo app's gRPC service: requests and answers are google.protobuf.StringValue, and an answer is
// the line that ParseGreeting reads.
const (
	// UnaryMethod answers one request.
	UnaryMethod = "/grayscale.lab.Echo/Who"
	// StreamMethod answers each message of a stream with one.
	StreamMethod = "/grayscale.lab.Echo/Talk"
	// EveryQuery is the query parameter of an HTTP request that asks for an answer without an end: the greeting, in a
	// chunk of its own, each time that this duration has passed.
	EveryQuery = "every"
)

// echoService describes the service to gRPC; there is no generated code.
var echoService = grpc.ServiceDesc{
	ServiceName: "grayscale.lab.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Who", Handler: func(app any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(&wrapperspb.StringValue{}); err != nil {
			return nil, err
		}
		return wrapperspb.String(app.(*echo).greeting()), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(app any, stream grpc.ServerStream) error {
		for {
			if err := stream.RecvMsg(&wrapperspb.StringValue{}); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(wrapperspb.String(app.(*echo).greeting())); err != nil {
				return err
			}
		}
	}}},
}

func newGRPCServer(e *echo) *grpc.Server {
	server := grpc.NewServer()
	server.RegisterService(&echoService, e)
	return server
}

// greeting is the line with which the Pod says who it is: ParseGreeting reads it.
func (e *echo) greeting() string {
	pod := e.pod()
	return fmt.Sprintf("%s %s\n", pod.Name, pod.Labels["version"])
}

// serveLong answers what is more than a request with an answer: gRPC, a WebSocket, an answer without an end.
func (e *echo) serveLong(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		e.grpc.ServeHTTP(w, r)
	case websocket.IsWebSocketUpgrade(r):
		e.serveWebSocket(w, r)
	case r.URL.Query().Has(EveryQuery):
		e.serveChunks(w, r)
	default:
		return false
	}
	return true
}

// serveWebSocket answers each message with the greeting. The connection ends as one of plain TCP does when the Pod
// stops.
func (e *echo) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	if !e.tcp.add(conn.NetConn()) {
		_ = conn.Close() // the Pod is over
		return
	}
	defer e.tcp.remove(conn.NetConn())
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
		if err := conn.WriteMessage(websocket.TextMessage, []byte(e.greeting())); err != nil {
			return
		}
	}
}

func (e *echo) serveChunks(w http.ResponseWriter, r *http.Request) {
	every, err := time.ParseDuration(r.URL.Query().Get(EveryQuery))
	if err != nil || every <= 0 {
		http.Error(w, EveryQuery+" is no duration: write for example 100ms", http.StatusBadRequest)
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if _, err := io.WriteString(w, e.greeting()); err != nil || http.NewResponseController(w).Flush() != nil {
			return // the client has left
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}
