import { mount } from "svelte";

import App from "./app/App.svelte";
import "./app/css/tokens.css";
import "./app/css/base.css";
import "./app/css/parts.css";

const target = document.getElementById("app");
if (target === null) throw new Error("The page has no place for the application.");
mount(App, { target });
