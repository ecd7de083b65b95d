// The API to be tried out: Swagger UI from our own server, at whatever address a proxy has put it.

const root = new URL(".", document.baseURI).href;

if (window.SwaggerUIBundle) {
  const spec = await (await fetch(`${root}openapi.json`)).json();
  spec.servers = [{ url: root }];
  window.SwaggerUIBundle({ spec, dom_id: "#api", deepLinking: true, validatorUrl: null });
}
