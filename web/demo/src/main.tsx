/** Entry of the page. */

import { effect } from "@preact/signals";
import { render } from "preact";

import "../../src/styles.css";
import "./demo.css";
import { startSettings } from "../../src/state/settings";
import { parseAddress } from "../../src/state/url";
import { App } from "./components/App";
import { loadModel } from "./state/model";
import { storePage } from "./state/offline";
import { text } from "./texts";

await startSettings(parseAddress(location.search).settings);
effect(() => void (document.title = text("page.title")));
render(<App />, document.getElementById("app")!);
// What the service worker stores has mostly been loaded by then, so that it comes from the browser's cache.
void loadModel().then(storePage);
