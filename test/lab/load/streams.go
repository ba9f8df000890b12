package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"grayscale.dev/grayscale/test/lab/pods"
)

// stream is a connection, or a part of one, that carries many messages to the Pod that it was opened to.
type stream interface {
	// exchange gives the Pod's next answer, to a message where the client sends any.
	exchange(ctx context.Context) (greeting string, err error)
	close()
}

// holdStreams keeps streams open for the whole load, each with its part of the rate, one message after the other. A
// stream that breaks is not opened again: its next answer is lost.
func (p plan) holdStreams(ctx context.Context, address string) <-chan *vegeta.Result {
	results := make(chan *vegeta.Result)
	ctx, cancel := context.WithTimeout(ctx, p.during)
	var open sync.WaitGroup
	for range p.streams {
		open.Go(func() { p.hold(ctx, address, results) })
	}
	go func() {
		open.Wait()
		cancel()
		close(results)
	}()
	return results
}

// pause is the time between two messages of one stream.
func (p plan) pause() time.Duration {
	return time.Duration(p.streams) * time.Second / time.Duration(p.rps)
}

func (p plan) hold(ctx context.Context, address string, results chan<- *vegeta.Result) {
	held, err := p.open(ctx, address)
	if err != nil {
		results <- p.exchange(func() (string, error) { return "", fmt.Errorf("open a stream: %w", err) })
		return
	}
	stop := context.AfterFunc(ctx, held.close)
	defer func() {
		if stop() {
			held.close()
		}
	}()
	ticker := time.NewTicker(p.pause())
	defer ticker.Stop()
	for {
		result := p.exchange(func() (string, error) { return held.exchange(ctx) })
		if ctx.Err() != nil {
			return // the end of the load cut it
		}
		results <- result
		if result.Error != "" {
			return
		}
		if p.target.Scheme == "http" {
			continue // the Pod keeps the rate
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p plan) open(ctx context.Context, address string) (stream, error) {
	switch p.target.Scheme {
	case "tcp":
		return dialTCP(ctx, address)
	case "grpc":
		return p.openGRPC(ctx, address)
	case "ws":
		return p.openWebSocket(ctx, address)
	}
	return p.openResponse(ctx, address)
}

// tcpStream has lines echoed.
type tcpStream struct {
	net.Conn
	lines    *bufio.Reader
	greeting string
}

func dialTCP(ctx context.Context, address string) (*tcpStream, error) {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &tcpStream{Conn: conn, lines: bufio.NewReader(conn)}, nil
}

func (s *tcpStream) exchange(context.Context) (string, error) {
	if err := s.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if s.greeting == "" {
		greeting, err := s.lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read the Pod's greeting: %w", err)
		}
		s.greeting = greeting
	}
	const ping = "ping\n"
	if _, err := io.WriteString(s, ping); err != nil {
		return s.greeting, fmt.Errorf("send a line: %w", err)
	}
	echoed, err := s.lines.ReadString('\n')
	if err != nil {
		return s.greeting, fmt.Errorf("read the echoed line: %w", err)
	}
	if echoed != ping {
		return s.greeting, fmt.Errorf("the echoed line differs: sent %q, got %q", ping, echoed)
	}
	return s.greeting, nil
}

func (s *tcpStream) close() { _ = s.Close() } // all that was awaited has been read

// dialGRPC makes one HTTP/2 connection, as a gRPC client has: every call is a stream of it. gRPC's own retries are off.
func (p plan) dialGRPC(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(p.target.Host), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig())
}

// grpcCaller makes unary calls.
type grpcCaller struct{ conn *grpc.ClientConn }

func (c grpcCaller) call(ctx context.Context) (string, error) {
	answer := &wrapperspb.StringValue{}
	err := c.conn.Invoke(ctx, pods.UnaryMethod, wrapperspb.String("ping"), answer)
	return answer.GetValue(), err
}

func (c grpcCaller) close() { _ = c.conn.Close() } // every call has been answered

// grpcStream is a stream of messages in both directions.
type grpcStream struct {
	conn *grpc.ClientConn
	grpc.ClientStream
}

func (p plan) openGRPC(ctx context.Context, address string) (stream, error) {
	conn, err := p.dialGRPC(address)
	if err != nil {
		return nil, err
	}
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	calls, err := conn.NewStream(ctx, both, pods.StreamMethod)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return grpcStream{conn, calls}, nil
}

func (s grpcStream) exchange(context.Context) (string, error) {
	if err := s.SendMsg(wrapperspb.String("ping")); err != nil {
		return "", fmt.Errorf("send a message: %w", errors.Join(err, s.RecvMsg(&wrapperspb.StringValue{}))) // it says why
	}
	answer := &wrapperspb.StringValue{}
	err := s.RecvMsg(answer)
	return answer.GetValue(), err
}

func (s grpcStream) close() { _ = s.conn.Close() } // it ends the stream, whose answers have been read

// webSocket has each message answered.
type webSocket struct{ *websocket.Conn }

func (p plan) openWebSocket(ctx context.Context, address string) (stream, error) {
	dialer := websocket.Dialer{HandshakeTimeout: timeout, NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	conn, response, err := dialer.DialContext(ctx, p.target.String(), p.headers)
	if err != nil && response != nil {
		return nil, fmt.Errorf("%w: %s", err, response.Status)
	}
	if err != nil {
		return nil, err
	}
	return webSocket{conn}, nil
}

func (s webSocket) exchange(context.Context) (string, error) {
	deadline := time.Now().Add(timeout)
	if err := errors.Join(s.SetWriteDeadline(deadline), s.SetReadDeadline(deadline)); err != nil {
		return "", err
	}
	if err := s.WriteMessage(websocket.TextMessage, []byte("ping")); err != nil {
		return "", fmt.Errorf("send a message: %w", err)
	}
	_, answer, err := s.ReadMessage()
	return string(answer), err
}

func (s webSocket) close() { _ = s.Close() } // all that was awaited has been read

// response is an answer without an end, of which each chunk counts.
type response struct {
	io.Closer
	lines *bufio.Reader
}

func (p plan) openResponse(ctx context.Context, address string) (stream, error) {
	client, err := p.client(address)
	if err != nil {
		return nil, err
	}
	client.Timeout = 0
	endless := *p.target
	query := endless.Query()
	query.Set(pods.EveryQuery, p.pause().String())
	endless.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, p.method, endless.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header = p.headers.Clone()
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(errors.New(answer.Status), answer.Body.Close())
	}
	return response{answer.Body, bufio.NewReader(answer.Body)}, nil
}

func (s response) exchange(context.Context) (string, error) {
	late := time.AfterFunc(timeout, s.close)
	defer late.Stop()
	return s.lines.ReadString('\n')
}

func (s response) close() { _ = s.Close() } // it cuts the answer, which has no end of its own
